use super::*;
use crate::version::Version;

#[test]
fn equal_requirements_have_one_spelling() {
    for (written, canonical) in [
        ("torch", "torch"),
        ("  Scikit_Learn ", "scikit-learn"),
        ("a.b--c", "a-b-c"),
        ("pandas == 2.2", "pandas==2.2"),
        ("pandas>=2,<3", "pandas<3,>=2"),
        ("pandas <3 , >=2", "pandas<3,>=2"),
        ("jax[ CUDA12 , k8s]==0.5", "jax[cuda12,k8s]==0.5"),
        ("x~=1.4.2", "x~=1.4.2"),
        ("x===1.0+local", "x===1.0+local"),
        ("x==2.*", "x==2.*"),
        ("x ; python_version<'3.12'", "x ; python_version<'3.12'"),
    ] {
        let requirement = Requirement::parse(written).expect(written);
        assert_eq!(requirement.to_string(), canonical);
        assert_eq!(Requirement::parse(canonical), Ok(requirement));
    }
}

#[test]
fn what_is_no_package_is_refused_with_the_reason() {
    let text = |t: &str| t.to_owned();
    for (written, error) in [
        ("", Error::Empty),
        ("-r x.txt", Error::Option { text: text("-r x.txt") }),
        ("--index-url=x", Error::Option { text: text("--index-url=x") }),
        ("./local", Error::Name { text: text("./local") }),
        ("a\nb", Error::Name { text: text("a\nb") }),
        ("x-", Error::Name { text: text("x-") }),
        ("jax[cuda", Error::Extras { text: text("jax[cuda") }),
        ("jax[]", Error::Extras { text: text("jax[]") }),
        ("pandas=2", Error::Version { clause: text("=2"), text: text("pandas=2") }),
        ("pandas 2", Error::Version { clause: text("2"), text: text("pandas 2") }),
        ("x @ https://e.org/x.whl", Error::Address { text: text("x @ https://e.org/x.whl") }),
        ("x=={version}", Error::Placeholder { name: text("version"), text: text("x=={version}") }),
    ] {
        assert_eq!(Requirement::parse(written), Err(error), "{written:?}");
    }
}

#[test]
fn an_annotation_lists_packages_with_commas_inside_versions_and_extras() {
    let list = |text: &str| -> Vec<String> {
        Requirement::parse_list(text).expect(text).iter().map(Requirement::to_string).collect()
    };
    assert_eq!(list("scikit-learn, pandas==2.2"), ["scikit-learn", "pandas==2.2"]);
    assert_eq!(list("a>=2,<3,b,"), ["a<3,>=2", "b"]);
    assert_eq!(list("jax[a,b]>1, c\nd\n"), ["jax[a,b]>1", "c", "d"]);
    assert!(list(" ,\n").is_empty());
    let errors = Requirement::parse_list("ok, -x, y=1, z[").expect_err("three are wrong");
    assert_eq!(errors.len(), 3);
}

#[test]
fn placeholders_take_the_versions_of_the_tag() {
    let captures = |version: &str| {
        Captures::from([("version".to_owned(), Version::parse(version).expect(version))])
    };
    let fill = |template: &str, captures: &Captures| {
        Requirement::parse_template(template).expect(template).fill(captures).to_string()
    };
    let template = "torch=={version}";
    assert_eq!(fill(template, &captures("2.4.1")), "torch==2.4.1");
    assert_eq!(fill(template, &captures("2.4")), "torch==2.4.*");
    assert_eq!(fill(template, &captures("2")), "torch==2.*");
    assert_eq!(fill(template, &Captures::new()), "torch");
    assert_eq!(fill("x>={version},<9", &captures("2.4")), "x<9,>=2.4");
    assert_eq!(fill("x>={version},<9", &Captures::new()), "x<9");
    assert_eq!(fill("x @ https://e.org/x.whl", &captures("1.0")), "x @ https://e.org/x.whl");
}
