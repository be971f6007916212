use super::*;

fn captured(pattern: &str, image: &str) -> Option<String> {
    let pattern = ImagePattern::parse(pattern).expect(pattern);
    let captures = pattern.matches(&ImageReference::parse(image))?;
    let list: Vec<String> = captures.iter().map(|(k, v)| format!("{k}={v}")).collect();
    Some(list.join(" "))
}

#[test]
fn patterns_fit_names_and_tags() {
    for (pattern, image, expected) in [
        ("python", "docker.io/library/python:3.11", Some("")),
        ("docker.io/library/python", "python:3.11", Some("")),
        ("python", "python@sha256:ab", Some("")),
        ("python:*", "python@sha256:ab", Some("")),
        ("python:3.*", "python@sha256:ab", None),
        ("python:latest", "python", Some("")),
        ("python", "team/python:3.11", None),
        ("*/python", "team/python", Some("")),
        ("*/python", "a/b/python", None),
        ("**/python", "a/b/python", Some("")),
        ("**/python", "python:3", Some("")),
        ("**/python", "cpython", None),
        ("ghcr.io/acme/**", "ghcr.io/acme/a/b:1", Some("")),
        ("ghcr.io/acme/*", "ghcr.io/acme/a/b:1", None),
        ("local:5000/x", "local:5000/x:9", Some("")),
        ("{busybox,alpine}", "alpine:3.20", Some("")),
        ("x:v?", "x:v1", Some("")),
        ("x:v?", "x:v12", None),
        ("python:{python}*", "python:3.11-slim", Some("python=3.11")),
        ("python:{python}*", "python:3.11.4", Some("python=3.11.4")),
        ("python:{python}*", "python:alpine3.9", None),
        (
            "pytorch/pytorch:{version}-*",
            "pytorch/pytorch:2.4.1-cuda12.4-cudnn9-runtime",
            Some("version=2.4.1"),
        ),
        ("a:{version<2.3}*", "a:2.2.1-cuda", Some("version=2.2.1")),
        ("a:{version<2.3}*", "a:2.3.0-cuda", None),
        ("a:{version<2.3}*", "a:2.13.0-cuda", None),
        ("a:{version>=2}*", "a:2", Some("version=2")),
        ("a:{version>=2}*", "a:10.1", Some("version=10.1")),
        ("a:{x}-py{python}", "a:1.2-py3.10", Some("python=3.10 x=1.2")),
        ("a:v{version}", "a:v1.2.", None),
        ("", "a", None),
    ] {
        if pattern.is_empty() {
            assert_eq!(ImagePattern::parse(pattern), Err(Error::Empty));
            continue;
        }
        assert_eq!(captured(pattern, image).as_deref(), expected, "{pattern} on {image}");
    }
}

#[test]
fn a_bad_pattern_says_what_is_wrong_with_it() {
    let braces = |text: &str| Error::Braces { text: text.to_owned() };
    for (pattern, error) in [
        ("  ", Error::Empty),
        ("a b", Error::Space),
        ("a@sha256:1", Error::Digest),
        ("a:{version", Error::Unclosed { at: 3 }),
        ("a:{Version}", braces("Version")),
        ("a:{version=2}", braces("version=2")),
        ("a:{version>2}", braces("version>2")),
        ("a:{version<}", braces("version<")),
        ("a:{x}-{x}", Error::Twice { name: "x".into() }),
        ("{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}", Error::TooMany),
    ] {
        assert_eq!(ImagePattern::parse(pattern), Err(error), "{pattern}");
    }
}

#[test]
fn the_names_a_pattern_captures_are_known_without_an_image() {
    let pattern = ImagePattern::parse("**/a:{version}-py{python}").expect("a good pattern");
    assert_eq!(pattern.captured(), ["python", "version"]);
}
