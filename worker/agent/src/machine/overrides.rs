//! Amounts that the operator of a node sets over what was detected.

use std::str::FromStr;

use muster_model::{Quantity, QuantityError, ResourceName, Resources};
use thiserror::Error;

/// Why a text is no list of amounts.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OverridesError {
    /// A part is not `NAME=AMOUNT`.
    #[error("{0:?} is not NAME=AMOUNT, such as nvidia.com/gpu=4 or memory=64Gi")]
    NoPair(String),
    /// The amount is no quantity.
    #[error("the amount of {name} {source}")]
    Quantity {
        /// The resource.
        name: String,
        /// Why.
        source: QuantityError,
    },
    /// The amount cannot be one of this resource.
    #[error("{name} cannot be {text}: it is counted in whole, non-negative numbers")]
    Amount {
        /// The resource.
        name: String,
        /// The amount as written.
        text: String,
    },
}

/// Amounts by name; a name that is not in it is left as detected, and an amount of 0 hides what was
/// detected.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Overrides(Vec<(ResourceName, u64)>);

impl Overrides {
    /// Sets the amounts over those of `detected`.
    #[must_use]
    pub fn apply(&self, mut detected: Resources) -> Resources {
        for (name, amount) in &self.0 {
            detected.set(name.clone(), *amount);
        }
        detected
    }
}

impl FromStr for Overrides {
    type Err = OverridesError;

    /// Reads `nvidia.com/gpu=4,example.com/dongle=2`. Empty parts are passed over.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let read = |part: &str| {
            let (name, amount) = part
                .split_once('=')
                .filter(|(name, _)| !name.trim().is_empty())
                .ok_or_else(|| OverridesError::NoPair(part.to_owned()))?;
            let (name, amount) = (ResourceName::from(name.trim()), amount.trim());
            let quantity: Quantity = amount
                .parse()
                .map_err(|source| OverridesError::Quantity { name: name.to_string(), source })?;
            match name.amount(quantity) {
                Some(amount) => Ok((name, amount)),
                None => {
                    Err(OverridesError::Amount { name: name.to_string(), text: amount.to_owned() })
                }
            }
        };
        parts.map(read).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_replace_what_was_detected() {
        let overrides: Overrides =
            "nvidia.com/gpu=4, cpu=1500m,example.com/dongle=2,memory=0".parse().unwrap();
        let detected = Resources::new().with("cpu", 8000).with("memory", 1 << 30);
        assert_eq!(
            overrides.apply(detected),
            Resources::new()
                .with("cpu", 1500)
                .with("nvidia.com/gpu", 4)
                .with("example.com/dongle", 2)
        );
        assert_eq!("".parse::<Overrides>().unwrap(), Overrides::default());
    }

    #[test]
    fn mistakes_name_the_part() {
        for (text, word) in [
            ("gpu", "\"gpu\""),
            ("=3", "\"=3\""),
            ("cpu=two", "cpu"),
            ("nvidia.com/gpu=1.5", "nvidia.com/gpu"),
            ("cpu=-1", "cpu"),
        ] {
            let error = text.parse::<Overrides>().unwrap_err();
            assert!(error.to_string().contains(word), "{text}: {error}");
        }
    }
}
