use std::collections::BTreeSet;

use serde_json::json;

use super::*;

static INNER: Object =
    Object { name: "Inner", fields: &[used("flag", Type::Flag), used("port", Type::IntOrText)] };

static OUTER: Object = Object {
    name: "Outer",
    fields: &[
        used("text", Type::Text),
        used("small", Type::Int32),
        used("large", Type::Int64),
        used("amount", Type::Quantity),
        used("texts", Type::List(&Type::Text)),
        used("labels", Type::Map(&Type::Text)),
        used("inner", Type::Object(&INNER)),
        ignored("later", Type::Object(&INNER)),
        refused("never", Type::Any, "use text"),
        used("free", Type::Any),
    ],
};

fn findings(value: Value) -> Vec<String> {
    let mut findings = Findings::default();
    check(&value, &OUTER, &FieldPath::root().field("o"), &mut findings);
    match findings.finish() {
        Ok(warnings) => warnings.iter().map(ToString::to_string).collect(),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn every_type_is_checked_with_its_path() {
    let none: [&str; 0] = [];
    assert_eq!(
        findings(json!({
            "text": "x", "small": -5, "large": 1_u64 << 40, "amount": 1.5, "texts": [], "labels": {"a": "b", "n": null},
            "inner": {"flag": true, "port": "http"}, "free": [{}], "later": {}, "never": [],
        })),
        none
    );
    for (value, expected) in [
        (json!([]), "o: must be an object, found a list"),
        (json!({"text": 1}), "o.text: must be a text, found a number (1): put it in quotes: \"1\""),
        (
            json!({"text": true}),
            "o.text: must be a text, found a boolean (true): put it in quotes: \"true\"",
        ),
        (
            json!({"small": "3"}),
            "o.small: must be a whole number of 32 bits, found a text (\"3\"): leave out the quotes",
        ),
        (
            json!({"small": 1_u64 << 40}),
            "o.small: must be a whole number of 32 bits, found a number (1099511627776)",
        ),
        (json!({"large": 1.5}), "o.large: must be a whole number, found a fraction (1.5)"),
        (
            json!({"amount": "1.5Gx"}),
            "o.amount: invalid value \"1.5Gx\": the quantity has the unknown suffix \"Gx\"; use one of Ki Mi Gi Ti Pi Ei, n u m k M G T P E, or an exponent such as e3",
        ),
        (json!({"amount": []}), "o.amount: must be a quantity such as 500m or 2Gi, found a list"),
        (json!({"texts": "x"}), "o.texts: must be a list, found a text (\"x\")"),
        (json!({"texts": ["x", null]}), "o.texts[1]: must be a text, found nothing"),
        (
            json!({"labels": {"a.b/c": 1}}),
            "o.labels[a.b/c]: must be a text, found a number (1): put it in quotes: \"1\"",
        ),
        (
            json!({"inner": {"flag": "yes"}}),
            "o.inner.flag: must be true or false, found a text (\"yes\")",
        ),
        (
            json!({"inner": {"port": 1.5}}),
            "o.inner.port: must be a whole number or a text, found a fraction (1.5)",
        ),
        (json!({"later": {"flag": 1}}), "o.later.flag: must be true or false, found a number (1)"),
        (json!({"never": 1}), "o.never: forbidden: not supported yet; use text"),
    ] {
        assert_eq!(findings(value), [expected]);
    }
}

#[test]
fn unknown_and_ignored_fields_are_warnings() {
    assert_eq!(
        findings(json!({"lables": [], "other": 1, "later": {"port": 1, "prot": 2}})),
        [
            "unknown field \"o.lables\"; did you mean \"labels\"?",
            "unknown field \"o.other\"",
            "o.later: accepted, but not acted on",
            "unknown field \"o.later.prot\"; did you mean \"port\"?",
        ]
    );
}

/// Walks all tables that a root reaches.
fn collect(kind: &'static Type, seen: &mut BTreeSet<&'static str>) {
    match kind {
        Type::List(inner) | Type::Map(inner) => collect(inner, seen),
        Type::Object(object) => {
            let mut names = BTreeSet::new();
            for field in object.fields {
                assert!(names.insert(field.name), "{}.{} stands twice", object.name, field.name);
            }
            if seen.insert(object.name) {
                for field in object.fields {
                    collect(&field.kind, seen);
                }
            }
        }
        _ => {}
    }
}

#[test]
fn no_table_names_a_field_twice() {
    static ROOTS: [Type; 2] =
        [Type::Object(&core::POD_TEMPLATE), Type::Object(&training::RUN_POLICY)];
    let mut seen = BTreeSet::new();
    for root in &ROOTS {
        collect(root, &mut seen);
    }
    for name in ["PodSpec", "Container", "Affinity", "Probe", "RunPolicy"] {
        assert!(seen.contains(name), "{name}");
    }
}
