//! Objects in the form that was asked for.

use muster_client::api;
use serde_json::{Value, json};

use super::tables::{print_rows, table_of};
use crate::args::Format;
use crate::exit::Failure;

fn parse(item: &api::Object) -> Value {
    // The coordinator sends JSON; something else would be shown as null.
    serde_json::from_slice(&item.json).unwrap_or(Value::Null)
}

/// Prints objects.
pub(crate) fn print_list(
    items: &[api::Object],
    (format, namespaces): (Format, bool),
) -> Result<(), Failure> {
    match format {
        Format::Table | Format::Wide => {
            if items.is_empty() {
                super::say("nothing found");
            } else {
                print_rows(&table_of(items, (format, namespaces)));
            }
            Ok(())
        }
        Format::Name => {
            for item in items {
                super::line(name(item));
            }
            Ok(())
        }
        Format::Json | Format::Yaml => {
            let objects: Vec<Value> = items.iter().map(parse).collect();
            print_value(&json!({"apiVersion": "v1", "kind": "List", "items": objects}), format)
        }
    }
}

/// Prints one object.
pub(crate) fn print_one(item: &api::Object, format: Format) -> Result<(), Failure> {
    match format {
        Format::Json | Format::Yaml => print_value(&parse(item), format),
        _ => print_list(std::slice::from_ref(item), (format, false)),
    }
}

/// Prints a value for programs.
pub(crate) fn print_value(value: &Value, format: Format) -> Result<(), Failure> {
    let text = match format {
        Format::Yaml => serde_saphyr::to_string(value).map_err(|error| {
            Failure::refused("M5004", format!("cannot be written as YAML: {error}"))
        })?,
        _ => format!("{value:#}"),
    };
    super::line(text.trim_end());
    Ok(())
}

fn name(item: &api::Object) -> String {
    let reference = item.r#ref.clone().unwrap_or_default();
    format!("{}/{}", reference.kind.to_lowercase(), reference.name)
}
