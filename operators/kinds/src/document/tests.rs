use proptest::prelude::*;
use serde_json::json;

use super::*;

fn values(text: &str) -> Vec<Value> {
    match parse_documents(text.as_bytes()) {
        Ok(documents) => documents.into_iter().map(|d| d.value).collect(),
        Err(error) => panic!("{error}\n{text}"),
    }
}

fn error(text: &str) -> String {
    match parse_documents(text.as_bytes()) {
        Ok(documents) => panic!("accepted: {documents:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn plain_scalars_mean_what_they_mean_to_kubernetes() {
    let table = [
        ("yes", json!(true)),
        ("Off", json!(false)),
        ("y", json!(true)),
        ("N", json!(false)),
        ("TRUE", json!(true)),
        ("tRUE", json!("tRUE")),
        ("~", json!(null)),
        ("", json!(null)),
        ("Null", json!(null)),
        ("12", json!(12)),
        ("+12", json!(12)),
        ("-12", json!(-12)),
        ("1_000", json!(1000)),
        ("0777", json!(511)),
        ("0o777", json!(511)),
        ("0b101", json!(5)),
        ("-0x1F", json!(-31)),
        ("08", json!(8)),
        ("18446744073709551615", json!(18_446_744_073_709_551_615_u64)),
        ("-9223372036854775808", json!(i64::MIN)),
        ("99999999999999999999", json!(1e20)),
        ("1.0", json!(1)),
        ("1.50", json!(1.5)),
        ("1e3", json!(1000)),
        ("1.", json!(1)),
        (".5", json!(0.5)),
        ("1e999", json!("1e999")),
        ("0x", json!("0x")),
        ("+-1", json!("+-1")),
        ("1.2.3", json!("1.2.3")),
        ("12:30:45", json!("12:30:45")),
        ("2001-12-14", json!("2001-12-14")),
        ("500m", json!("500m")),
        ("1.5Gi", json!("1.5Gi")),
        ("'yes'", json!("yes")),
        ("\"0777\"", json!("0777")),
        ("!!str 12", json!("12")),
        ("!!int '12'", json!(12)),
        ("!!float 12", json!(12)),
        ("!!bool on", json!(true)),
        ("!mine 12", json!("12")),
        ("|\n  a\n  b", json!("a\nb")),
        (">-\n  a\n  b\n", json!("a b")),
    ];
    for (text, expected) in table {
        assert_eq!(values(&format!("v: {text}")), [json!({"v": expected})], "{text}");
    }
}

#[test]
fn keys_become_texts() {
    let text = "1: a\n0x10: b\nyes: c\n1.5: d\n-0.25: e\n1.0e-7: f\n'null': g\n";
    assert_eq!(
        values(text),
        [
            json!({"1": "a", "16": "b", "true": "c", "1.5": "d", "-0.25": "e", "1e-07": "f", "null": "g"})
        ]
    );
    insta::assert_snapshot!(error("a: 1\n~: x\n"), @"document 1, line 2, column 1: an empty key (null) has no counterpart in JSON; put it in quotes");
    insta::assert_snapshot!(error("? [a, b]\n: x\n"), @"document 1, line 1, column 3: a key must be a text, found a list or an object");
}

#[test]
fn documents_are_numbered_and_empty_ones_left_out() {
    let text =
        "# only a comment\n---\nkind: A\nmetadata: {name: one}\n---\n---\n~\n---\nkind: B\n...\n";
    let documents = parse_documents(text.as_bytes()).unwrap();
    let described: Vec<String> = documents.iter().map(Document::describe).collect();
    assert_eq!(described, ["document 1 (line 3), A one", "document 4 (line 9), B"]);
    assert_eq!(parse_documents(b"").unwrap(), []);
    assert_eq!(parse_documents(b"# nothing\n---\n").unwrap(), []);
    assert_eq!(values("\u{feff}a: 1"), [json!({"a": 1})]);
}

#[test]
fn a_list_is_replaced_by_its_items() {
    let text = r"
apiVersion: v1
kind: List
items:
- {apiVersion: kubeflow.org/v1, kind: PyTorchJob, metadata: {name: a}}
- apiVersion: v1
  kind: List
  items: [{kind: TFJob, metadata: {generateName: b-}}]
";
    let documents = parse_documents(text.as_bytes()).unwrap();
    let described: Vec<String> = documents.iter().map(Document::describe).collect();
    assert_eq!(
        described,
        ["document 1 (line 2), item 1, PyTorchJob a", "document 1 (line 2), item 2, TFJob b-"]
    );
    let typed =
        r#"{"apiVersion":"kubeflow.org/v1","kind":"PyTorchJobList","items":[{"metadata":{}}]}"#;
    assert_eq!(
        values(typed),
        [json!({"metadata": {}, "kind": "PyTorchJob", "apiVersion": "kubeflow.org/v1"})]
    );
    insta::assert_snapshot!(error("kind: List\nitems: [1]"), @"document 1, line 1, column 1: a manifest must be an object with apiVersion, kind, metadata and spec; found a number");
}

#[test]
fn json_documents_follow_each_other() {
    let text = "  {\"a\": 1}\n\n {\"b\": {\"c\": [true, null, 1.5, \"x\"]}}\n";
    let documents = parse_documents(text.as_bytes()).unwrap();
    assert_eq!(documents[0].value, json!({"a": 1}));
    assert_eq!(documents[1].value, json!({"b": {"c": [true, null, 1.5, "x"]}}));
    assert_eq!((documents[1].place.line, documents[1].place.column), (3, 2));
    // YAML in flow style starts like JSON.
    assert_eq!(values("{a: 1, b: [x, z,],}"), [json!({"a": 1, "b": ["x", "z"]})]);
    insta::assert_snapshot!(error("{\"a\": 1}\n{\"b\": 1,\n \"c\": \"x\ty\"}\n"), @r"document 2, line 3, column 8: control character (\u0000-\u001F) found while parsing a string");
}

#[test]
fn a_key_that_stands_twice_is_refused_with_both_places() {
    insta::assert_snapshot!(error("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n"), @r#"document 1, line 5, column 3: the key "c" stands here for the second time (first in line 3); remove one of the two"#);
    insta::assert_snapshot!(error("{\"a\": 1,\n\"b\": {\"c\": 1, \"c\": 2}}"), @r#"document 1, line 2, column 17: the key "c" stands here for the second time; remove one of the two"#);
    // As texts, these keys are equal.
    insta::assert_snapshot!(error("1: a\n'1': b\n"), @r#"document 1, line 2, column 1: the key "1" stands here for the second time (first in line 1); remove one of the two"#);
}

#[test]
fn anchors_and_merge_keys_work() {
    let text = "
base: &base {image: i, command: [a], env: 1}
both: [&x {image: j, extra: 2}]
one: {<<: *base, env: 3}
two:
  <<: [*x, *base]
  command: *base
quoted: {'<<': 1}
";
    assert_eq!(
        values(text),
        [json!({
            "base": {"image": "i", "command": ["a"], "env": 1},
            "both": [{"image": "j", "extra": 2}],
            "one": {"env": 3, "image": "i", "command": ["a"]},
            "two": {"command": {"image": "i", "command": ["a"], "env": 1}, "image": "j", "extra": 2, "env": 1},
            "quoted": {"<<": 1},
        })]
    );
    insta::assert_snapshot!(error("<<: 1"), @"document 1, line 1, column 5: the merge key << needs a mapping, an alias of one, or a list of those");
    insta::assert_snapshot!(error("a: &a [*a]"), @"document 1, line 1, column 8: the alias stands inside of what it stands for");
    insta::assert_snapshot!(error("a: *b"), @"document 1, line 1, column 4: while parsing node, found unknown anchor");
}

#[test]
fn anchors_are_forgotten_at_the_end_of_a_document() {
    assert!(parse_documents(b"a: &x 1\n---\nb: *x\n").is_err());
}

#[test]
fn alias_bombs_end_at_the_limit() {
    let mut laughs = String::from("a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
    for level in 1..10 {
        let before = format!("*a{}, ", level - 1).repeat(10);
        laughs.push_str(&format!("a{level}: &a{level} [{before}]\n"));
    }
    insta::assert_snapshot!(error(&laughs), @"document 1, line 6, column 15: the aliases of this document stand for more than 1572864 bytes; write fewer aliases of aliases");
    // A long line of anchors in anchors would remember the rest of the text again and again.
    let nested = format!("a: {}{}", "[&x ".repeat(90), "x, ".repeat(20_000) + &"]".repeat(90));
    insta::assert_snapshot!(error(&nested), @"document 1, line 1, column 284: the aliases of this document stand for more than 1572864 bytes; write fewer aliases of aliases");
    // Each alias one level deeper than the one before.
    let mut ladder = String::from("a0: &a0 []\n");
    for level in 1..200 {
        ladder.push_str(&format!("a{level}: &a{level} [*a{}]\n", level - 1));
    }
    insta::assert_snapshot!(error(&ladder), @"document 1, line 100, column 12: nested more than 100 levels deep; no manifest needs that");
}

#[test]
fn depth_has_a_limit_in_both_formats() {
    let nest = |depth: usize| format!("{{\"a\": {}1{}}}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(values(&nest(MAX_DEPTH - 1)).len(), 1);
    insta::assert_snapshot!(error(&nest(MAX_DEPTH)), @"document 1, line 1, column 106: nested more than 100 levels deep; no manifest needs that");
    insta::assert_snapshot!(error(&nest(50_000)), @"document 1, line 1, column 106: nested more than 100 levels deep; no manifest needs that");
    insta::assert_snapshot!(error(&format!("a: {}1", "- ".repeat(50_000))), @"document 1, line 1, column 4: block sequence entries are not allowed in this context");
    insta::assert_snapshot!(error(&format!("a:\n {}1", "- ".repeat(50_000))), @"document 1, line 2, column 200: nested more than 100 levels deep; no manifest needs that");
    insta::assert_snapshot!(error(&format!("a: {}1{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH))), @"document 1, line 1, column 103: nested more than 100 levels deep; no manifest needs that");
}

#[test]
fn size_and_encoding_are_checked_first() {
    let large = format!("a: \"{}\"", "x".repeat(3_000_000));
    insta::assert_snapshot!(error(&large), @"the manifest has 3000005 bytes; at most 1572864 (1.5 MiB) are accepted: keep data in a file that the job reads, and name that file here");
    let bad = parse_documents(b"a: 1\nb: \xff\n").unwrap_err();
    insta::assert_snapshot!(bad.to_string(), @"line 2, column 4: not UTF-8; save the manifest in that encoding");
    let limit = format!("a: {}", "x".repeat(MAX_BYTES - 3));
    assert_eq!(values(&limit)[0]["a"].as_str().map(str::len), Some(MAX_BYTES - 3));
}

#[test]
fn syntax_errors_name_the_place() {
    insta::assert_snapshot!(error("a: 1\n---\nb: [1, 2\nc: 3\n"), @"document 2, line 4, column 2: illegal placement of ':' indicator");
    insta::assert_snapshot!(error("a: 1\n\tb: 2\n"), @"document 1, line 1, column 4: while scanning a plain scalar, found a tab");
    insta::assert_snapshot!(error("a: b: c"), @"document 1, line 1, column 5: mapping values are not allowed in this context");
    insta::assert_snapshot!(error("just words"), @"document 1, line 1, column 1: a manifest must be an object with apiVersion, kind, metadata and spec; found a text");
    insta::assert_snapshot!(error("- a\n- b\n"), @"document 1, line 1, column 1: a manifest must be an object with apiVersion, kind, metadata and spec; found a list");
    insta::assert_snapshot!(error("[1, 2]"), @"document 1, line 1, column 1: a manifest must be an object with apiVersion, kind, metadata and spec; found a list");
    insta::assert_snapshot!(error("a: .nan"), @"document 1, line 1, column 4: .nan has no counterpart in JSON; put it in quotes if it is meant as a text");
    insta::assert_snapshot!(error("a: !!binary aGk="), @"document 1, line 1, column 13: !!binary has no counterpart in JSON; write the base64 text without the tag");
    insta::assert_snapshot!(error("a: !!int x"), @r#"document 1, line 1, column 10: "x" is no value for the tag !!int"#);
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_documents(&bytes);
    }

    #[test]
    fn random_yaml_shapes_never_panic(text in "[-?:,\\[\\]{}#&*!|>'\"%@` \n\ta-c0-9~<.=]{0,120}") {
        let _ = parse_documents(text.as_bytes());
    }

    #[test]
    fn what_json_says_is_read_back(value in json_value()) {
        let object = json!({"v": value});
        let text = object.to_string();
        prop_assert_eq!(values(&text), [object]);
    }
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::btree_map("\\PC{0,8}", inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}
