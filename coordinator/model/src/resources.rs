//! Amounts of named resources: what a replica asks for and what a node has.
//!
//! Amounts are whole numbers of a base unit that depends on the name: thousandths of a core for
//! `cpu`, bytes for `memory`, `ephemeral-storage` and `hugepages-*`, devices for everything else.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::quantity::Quantity;

/// The name of a resource: `cpu`, `memory`, `nvidia.com/gpu`, `example.com/dongle`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ResourceName(pub String);

/// How an amount of a resource is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Millicores,
    Bytes,
    Devices,
}

impl ResourceName {
    /// The resource `cpu`.
    #[must_use]
    pub fn cpu() -> Self {
        Self("cpu".into())
    }

    /// The resource `memory`.
    #[must_use]
    pub fn memory() -> Self {
        Self("memory".into())
    }

    /// The resource `nvidia.com/gpu`.
    #[must_use]
    pub fn nvidia_gpu() -> Self {
        Self("nvidia.com/gpu".into())
    }

    /// Whether the name is an extended resource: one that is counted in whole devices and whose
    /// request and limit must be equal (Kubernetes: a qualified name outside `kubernetes.io`).
    #[must_use]
    pub fn is_extended(&self) -> bool {
        self.unit() == Unit::Devices
    }

    fn unit(&self) -> Unit {
        match self.0.as_str() {
            "cpu" => Unit::Millicores,
            "memory" | "ephemeral-storage" | "storage" => Unit::Bytes,
            name if name.starts_with("hugepages-") => Unit::Bytes,
            _ => Unit::Devices,
        }
    }

    /// The base-unit amount of a quantity of this resource; `None` when it is negative, too large,
    /// or a fraction of a device.
    #[must_use]
    pub fn amount(&self, quantity: Quantity) -> Option<u64> {
        match self.unit() {
            Unit::Millicores => quantity.millis(),
            Unit::Bytes => quantity.units(),
            Unit::Devices if quantity.is_whole() => quantity.units(),
            Unit::Devices => None,
        }
    }

    /// An amount as an exact Kubernetes quantity.
    #[must_use]
    pub fn quantity(&self, amount: u64) -> String {
        match self.unit() {
            Unit::Millicores if !amount.is_multiple_of(1000) => format!("{amount}m"),
            Unit::Millicores => (amount / 1000).to_string(),
            Unit::Bytes | Unit::Devices => amount.to_string(),
        }
    }

    /// An amount as a person reads it: `1500m` cores as `1.5`, bytes with a binary suffix.
    #[must_use]
    pub fn show(&self, amount: u64) -> String {
        match self.unit() {
            Unit::Millicores if amount.is_multiple_of(1000) => (amount / 1000).to_string(),
            Unit::Millicores => format!("{amount}m"),
            Unit::Devices => amount.to_string(),
            Unit::Bytes => show_bytes(amount),
        }
    }
}

fn show_bytes(bytes: u64) -> String {
    let mut value = bytes;
    let mut suffix = "";
    for next in ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"] {
        if value < 1024 || !value.is_multiple_of(1024) {
            break;
        }
        value /= 1024;
        suffix = next;
    }
    if value < 10_240 {
        return format!("{value}{suffix}");
    }
    // Not a round number: one decimal of the largest fitting unit, rounded down, for reading only.
    let (mut scale, mut name) = (1u64, "");
    for (index, next) in ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"].into_iter().enumerate() {
        let candidate = 1u64 << (10 * (index as u32 + 1));
        if bytes < candidate {
            break;
        }
        (scale, name) = (candidate, next);
    }
    let tenths = u128::from(bytes) * 10 / u128::from(scale);
    format!("{}.{}{name}", tenths / 10, tenths % 10)
}

impl fmt::Display for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for ResourceName {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

/// Amounts by resource name. A name that is absent counts as zero; zero amounts are not kept, so
/// that equal contents compare equal.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Resources(BTreeMap<ResourceName, u64>);

impl Resources {
    /// Nothing at all.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The amount of one resource, in its base unit.
    #[must_use]
    pub fn get(&self, name: &ResourceName) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// Sets the amount of one resource.
    pub fn set(&mut self, name: ResourceName, amount: u64) {
        if amount == 0 {
            self.0.remove(&name);
        } else {
            self.0.insert(name, amount);
        }
    }

    /// The same with one more amount; for building in tests and expansions.
    #[must_use]
    pub fn with(mut self, name: impl Into<ResourceName>, amount: u64) -> Self {
        self.set(name.into(), amount);
        self
    }

    /// Every name with a non-zero amount, in order of name.
    pub fn iter(&self) -> impl Iterator<Item = (&ResourceName, u64)> {
        self.0.iter().map(|(name, amount)| (name, *amount))
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds `other`, saturating.
    pub fn add(&mut self, other: &Self) {
        for (name, amount) in other.iter() {
            let sum = self.get(name).saturating_add(amount);
            self.set(name.clone(), sum);
        }
    }

    /// Takes `other` away, or changes nothing and answers false when something is short.
    #[must_use]
    pub fn checked_sub(&mut self, other: &Self) -> bool {
        if !self.covers(other) {
            return false;
        }
        for (name, amount) in other.iter() {
            let rest = self.get(name) - amount;
            self.set(name.clone(), rest);
        }
        true
    }

    /// Takes `other` away, stopping at zero.
    #[must_use]
    pub fn saturating_sub(&self, other: &Self) -> Self {
        let mut rest = self.clone();
        for (name, amount) in other.iter() {
            let left = rest.get(name).saturating_sub(amount);
            rest.set(name.clone(), left);
        }
        rest
    }

    /// Whether there is at least as much of everything as in `other`.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        other.iter().all(|(name, amount)| self.get(name) >= amount)
    }

    /// For every resource the larger of the two amounts.
    #[must_use]
    pub fn max(&self, other: &Self) -> Self {
        let mut larger = self.clone();
        for (name, amount) in other.iter() {
            larger.set(name.clone(), larger.get(name).max(amount));
        }
        larger
    }
}

impl FromIterator<(ResourceName, u64)> for Resources {
    fn from_iter<I: IntoIterator<Item = (ResourceName, u64)>>(pairs: I) -> Self {
        let mut resources = Self::new();
        for (name, amount) in pairs {
            resources.set(name, amount);
        }
        resources
    }
}

impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing");
        }
        for (position, (name, amount)) in self.iter().enumerate() {
            let comma = if position == 0 { "" } else { ", " };
            write!(f, "{comma}{name}={}", name.show(amount))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subtraction_is_all_or_nothing() {
        let mut free = Resources::new().with("cpu", 4000).with("nvidia.com/gpu", 2);
        assert!(!free.checked_sub(&Resources::new().with("cpu", 1000).with("nvidia.com/gpu", 3)));
        assert_eq!(free, Resources::new().with("cpu", 4000).with("nvidia.com/gpu", 2));
        assert!(free.checked_sub(&Resources::new().with("nvidia.com/gpu", 2)));
        assert_eq!(free, Resources::new().with("cpu", 4000));
    }

    #[test]
    fn a_fraction_of_a_device_is_refused_and_cpu_counts_thousandths() {
        let half: Quantity = "500m".parse().unwrap();
        assert_eq!(ResourceName::cpu().amount(half), Some(500));
        assert_eq!(ResourceName::nvidia_gpu().amount(half), None);
        assert_eq!(ResourceName::memory().amount("1Gi".parse().unwrap()), Some(1 << 30));
    }

    #[test]
    fn amounts_read_well() {
        assert_eq!(ResourceName::memory().show(16 << 30), "16Gi");
        assert_eq!(ResourceName::memory().show(25_000_000_123), "23.2Gi");
        assert_eq!(ResourceName::cpu().show(1500), "1500m");
        assert_eq!(
            Resources::new().with("cpu", 2000).with("memory", 1 << 20).to_string(),
            "cpu=2, memory=1Mi"
        );
    }
}
