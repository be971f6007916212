use super::*;

fn resolve(image: &str) -> Resolution {
    ImageMap::builtin().resolve(image, &Wishes::default()).expect("no wishes, no error")
}

/// An outcome on one line: `python 3.11: torch==2.4.1 numpy`, `host`.
fn outcome(resolution: &Resolution) -> String {
    match &resolution.target {
        Target::None => "none".to_owned(),
        Target::Host { .. } if resolution.warning.is_some() => "unmapped".to_owned(),
        Target::Host { .. } => "host".to_owned(),
        Target::Environment(spec) => {
            let python = spec.python.map_or("any".to_owned(), |p| p.to_string());
            let packages: Vec<String> = spec.packages.iter().map(ToString::to_string).collect();
            format!("{python}: {}", packages.join(" ")).trim_end().to_owned()
        }
    }
}

fn wishes(pairs: &[(&str, &str)]) -> Result<Wishes, AnnotationError> {
    let annotations = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Wishes::from_annotations(&annotations)
}

#[test]
fn well_known_images_become_their_environments() {
    let table = include_str!("testdata/images.txt");
    let mut rows = 0;
    for line in table.lines().filter(|l| !l.starts_with('#') && !l.is_empty()) {
        let (image, expected) = line.split_once(" -> ").expect(line);
        assert_eq!(outcome(&resolve(image.trim())), expected.trim(), "{image}");
        rows += 1;
    }
    assert!(rows > 50, "the table was read");
}

#[test]
fn a_gpu_machine_gets_the_gpu_packages() {
    let gpu = crate::spec::Gpu::Cuda {
        driver: crate::version::Version::parse("550.54.15").expect("a version"),
    };
    let Target::Environment(spec) = resolve("tensorflow/tensorflow:2.17.0-gpu").target else {
        panic!("an environment");
    };
    let list = |packages: Vec<Requirement>| -> Vec<String> {
        packages.iter().map(ToString::to_string).collect()
    };
    assert_eq!(list(spec.packages_for(&crate::spec::Gpu::None)), ["pip", "tensorflow==2.17.0"]);
    assert_eq!(list(spec.packages_for(&gpu)), ["pip", "tensorflow[and-cuda]==2.17.0"]);
}

#[test]
fn an_unmapped_image_runs_on_the_host_and_says_how_to_map_it() {
    let resolution = resolve("registry.example.org/team/trainer:7");
    assert_eq!(outcome(&resolution), "unmapped");
    let warning = resolution.warning.expect("a warning");
    for part in [
        "registry.example.org/team/trainer:7",
        "image map",
        ANNOTATION_PACKAGES,
        ANNOTATION_ENVIRONMENT,
    ] {
        assert!(warning.contains(part), "{part} in {warning}");
    }
}

#[test]
fn users_rules_come_first_and_the_first_fit_wins() {
    let map = ImageMap::parse(
        "rules:\n\
         - image: pytorch/pytorch:2.4.1-*\n  packages: [\"torch==2.4.1\", einops]\n\
         - image: [\"python:*\", team/tool]\n  host: true\n  variables: {OMP_NUM_THREADS: 4}\n\
         - image: \"team/*\"\n  python: 3.10\n\
         - name: nlp\n  packages: [transformers]\n",
        "images.yaml",
    )
    .expect("a good file");
    let none = Wishes::default();
    let get = |image: &str| map.resolve(image, &none).expect(image);
    assert_eq!(outcome(&get("pytorch/pytorch:2.4.1-cuda")), "any: torch==2.4.1 einops");
    assert_eq!(outcome(&get("pytorch/pytorch:2.6.0-cuda")), "any: torch==2.6.0 torchvision numpy");
    assert_eq!(outcome(&get("team/other")), "3.10:");
    assert_eq!(get("team/other").origin, "rule at images.yaml:7");
    let Target::Host { variables } = get("team/tool").target else {
        panic!("the host");
    };
    assert_eq!(variables["OMP_NUM_THREADS"], "4");
    let named = wishes(&[(ANNOTATION_ENVIRONMENT, "nlp")]).expect("a name");
    let resolution = map.resolve("team/tool", &named).expect("nlp is a rule");
    assert_eq!(outcome(&resolution), "any: transformers");
    assert_eq!(resolution.origin, "rule \"nlp\" (images.yaml:9)");
}

#[test]
fn annotations_add_packages_and_choose_environments() {
    let map = ImageMap::builtin();
    for (image, annotations, expected) in [
        (
            "pytorch/pytorch:2.8.0-cuda",
            vec![(ANNOTATION_PACKAGES, "scikit-learn, pandas==2.2")],
            "any: torch==2.8.0 torchvision numpy scikit-learn pandas==2.2",
        ),
        (
            "pytorch/pytorch:2.8.0-cuda",
            vec![(ANNOTATION_PACKAGES, "Torch==2.7.0")],
            "any: torchvision numpy torch==2.7.0",
        ),
        ("team/x", vec![(ANNOTATION_PACKAGES, "pandas>=2,<3")], "any: pandas<3,>=2"),
        ("busybox", vec![(ANNOTATION_PACKAGES, "six")], "any: six"),
        ("team/x", vec![(ANNOTATION_PACKAGES, " ")], "unmapped"),
        ("pytorch/pytorch", vec![(ANNOTATION_ENVIRONMENT, "host")], "host"),
        ("pytorch/pytorch", vec![(ANNOTATION_ENVIRONMENT, "none")], "none"),
        ("team/x", vec![(ANNOTATION_ENVIRONMENT, "jax")], "any: jax numpy"),
        (
            "team/x",
            vec![(ANNOTATION_ENVIRONMENT, "python"), (ANNOTATION_PACKAGES, "six")],
            "any: six",
        ),
        ("team/x", vec![("sidecar.istio.io/inject", "false")], "unmapped"),
    ] {
        let wishes = wishes(&annotations).expect("good annotations");
        let resolution = map.resolve(image, &wishes).expect("good wishes");
        assert_eq!(outcome(&resolution), expected, "{image} {annotations:?}");
    }
}

#[test]
fn annotations_that_cannot_be_followed_are_refused_with_a_reason() {
    let map = ImageMap::builtin();
    let refuse = |annotations: &[(&str, &str)]| {
        wishes(annotations)
            .and_then(|wishes| map.resolve("python:3.11", &wishes))
            .expect_err("a refusal")
    };
    assert_eq!(
        refuse(&[(ANNOTATION_ENVIRONMENT, "pytorhc")]),
        AnnotationError::UnknownEnvironment {
            name: "pytorhc".into(),
            nearest: Some("pytorch".into()),
        }
    );
    assert_eq!(
        refuse(&[(ANNOTATION_ENVIRONMENT, "host"), (ANNOTATION_PACKAGES, "six")]),
        AnnotationError::PackagesWithoutEnvironment { environment: "host".into() }
    );
    let AnnotationError::Packages(errors) =
        refuse(&[(ANNOTATION_PACKAGES, "six, -r evil.txt, x @ https://e.org/x.whl")])
    else {
        panic!("packages");
    };
    assert_eq!(errors.len(), 2);
}

#[test]
fn every_mistake_of_a_file_is_reported_with_its_place() {
    let text = include_str!("testdata/mistakes.yaml");
    let error = ImageMap::parse(text, "images.yaml").expect_err("mistakes");
    assert_eq!(error.to_string(), include_str!("testdata/mistakes.txt").trim_end());
}

#[test]
fn files_that_are_no_map_say_so() {
    for (text, expected) in [
        ("- image: x\n", "images.yaml:1:1: the file must be a mapping with rules:, not a list"),
        ("rule: []\n", "images.yaml:1:1: rule: unknown key \"rule\"; did you mean rules?"),
        ("rules: 3\n", "images.yaml:1:8: rules: a list must stand here, not a single value"),
    ] {
        let error = ImageMap::parse(text, "images.yaml").expect_err(text);
        assert_eq!(error.to_string(), expected);
    }
    let error = ImageMap::parse("rules: [\n", "images.yaml").expect_err("a lost bracket");
    assert!(error.to_string().starts_with("images.yaml:"), "{error}");
    for empty in ["", "# nothing yet\n", "rules:\n", "rules: []\n"] {
        ImageMap::parse(empty, "images.yaml").expect("no rules are no mistake");
    }
    let missing = ImageMap::load(Path::new("/nonexistent/images.yaml")).expect_err("no file");
    assert!(missing.to_string().contains("/nonexistent/images.yaml"), "{missing}");
}
