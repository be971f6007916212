use super::*;
use crate::taint::Tolerated;

fn taint(value: &str, effect: TaintEffect) -> Taint {
    Taint::new("gpu", value, effect).expect("a taint")
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn toleration(effect: Option<TaintEffect>, seconds: Option<u64>) -> Toleration {
    let lasts = seconds.map(Millis::from_secs);
    Toleration { key: Some("gpu".into()), value: Tolerated::Any, effect, lasts }
}

fn holds(term: &NodeTerm, pairs: &[(&str, &str)]) -> bool {
    let name = NodeName::new("n1").expect("a name");
    term.holds(NodeFacts { name: &name, labels: &labels(pairs), taints: &[] })
}

#[test]
fn operators_mean_what_they_mean_in_kubernetes() {
    let one = |rule: Rule| NodeTerm {
        labels: vec![LabelRule { key: "tier".into(), rule }],
        names: Vec::new(),
    };
    let listed = || vec!["3".to_owned(), "gold".to_owned()];
    for (rule, missing, three, gold, silver) in [
        (Rule::In(listed()), false, true, true, false),
        (Rule::NotIn(listed()), true, false, false, true),
        (Rule::Exists, false, true, true, true),
        (Rule::DoesNotExist, true, false, false, false),
        (Rule::Gt(2), false, true, false, false),
        (Rule::Gt(3), false, false, false, false),
        (Rule::Lt(4), false, true, false, false),
    ] {
        let term = one(rule);
        assert_eq!(holds(&term, &[]), missing, "{term:?} without the label");
        assert_eq!(holds(&term, &[("tier", "3")]), three, "{term:?} with 3");
        assert_eq!(holds(&term, &[("tier", "gold")]), gold, "{term:?} with gold");
        assert_eq!(holds(&term, &[("tier", "silver")]), silver, "{term:?} with silver");
    }
}

#[test]
fn a_term_is_an_and_the_affinity_an_or_and_an_empty_term_holds_nowhere() {
    let here = NodeTerm { labels: Vec::new(), names: vec![NameRule::Is("n1".into())] };
    let away = NodeTerm { labels: Vec::new(), names: vec![NameRule::IsNot("n1".into())] };
    assert!(holds(&here, &[]) && !holds(&away, &[]) && !holds(&NodeTerm::default(), &[]));
    let both =
        NodeTerm { names: [here.names.clone(), away.names.clone()].concat(), ..here.clone() };
    assert!(!holds(&both, &[]));
    let name = NodeName::new("n1").expect("a name");
    let obstacle = |terms: Vec<NodeTerm>| {
        let rules = NodeRules { affinity: Some(terms), ..NodeRules::default() };
        rules.obstacle(NodeFacts { name: &name, labels: &labels(&[]), taints: &[] })
    };
    assert_eq!(obstacle(vec![away.clone(), here]), None);
    assert_eq!(obstacle(vec![away]), Some(Obstacle::Affinity));
}

#[test]
fn taints_forbid_or_discourage_unless_they_are_tolerated() {
    let name = NodeName::new("n1").expect("a name");
    let check = |tolerations: Vec<Toleration>, taints: &[Taint]| {
        let rules = NodeRules { tolerations, ..NodeRules::default() };
        let labels = labels(&[]);
        (rules.obstacle(NodeFacts { name: &name, labels: &labels, taints }), rules.avoids(taints))
    };
    let schedule = taint("a", TaintEffect::NoSchedule);
    let execute = taint("a", TaintEffect::NoExecute);
    let prefer = taint("a", TaintEffect::PreferNoSchedule);
    let refused = |taint: &Taint| Some(Obstacle::Taint(taint.clone()));
    assert_eq!(check(vec![], std::slice::from_ref(&schedule)), (refused(&schedule), false));
    assert_eq!(check(vec![], std::slice::from_ref(&execute)), (refused(&execute), false));
    assert_eq!(check(vec![], std::slice::from_ref(&prefer)), (None, true));
    let brief = toleration(None, Some(60));
    assert_eq!(check(vec![brief.clone()], std::slice::from_ref(&schedule)), (None, false));
    assert_eq!(check(vec![brief], std::slice::from_ref(&execute)), (refused(&execute), false));
    let all = [prefer, schedule, execute.clone()];
    assert_eq!(check(vec![toleration(None, None)], &all), (None, false));
    let one = toleration(Some(TaintEffect::NoSchedule), None);
    assert_eq!(check(vec![one], &all), (refused(&execute), true));
}

#[test]
fn the_first_toleration_that_covers_a_taint_says_for_how_long() {
    let execute = taint("a", TaintEffect::NoExecute);
    let lasts = |tolerations: Vec<Toleration>| {
        NodeRules { tolerations, ..NodeRules::default() }.puts_up_with(&execute)
    };
    assert_eq!(lasts(vec![]), Some(Millis(0)));
    assert_eq!(lasts(vec![toleration(None, None)]), None);
    let other = toleration(Some(TaintEffect::NoSchedule), Some(1));
    let (long, short) = (toleration(None, Some(60)), toleration(None, Some(5)));
    assert_eq!(lasts(vec![other, long, short]), Some(Millis::from_secs(60)));
}

#[test]
fn what_is_excluded_reads_as_a_list() {
    let excluded = |nodes, why| Excluded { nodes, why };
    let all = [
        excluded(3, Obstacle::Cordoned),
        excluded(2, Obstacle::Taint(taint("a100", TaintEffect::NoSchedule))),
        excluded(1, Obstacle::Label { key: "zone".into(), value: "a".into() }),
    ];
    assert_eq!(
        list(&all),
        "3 nodes cordoned, 2 with taint gpu=a100:NoSchedule not tolerated, 1 without label zone=a"
    );
    assert_eq!(list(&all[2..]), "1 node without label zone=a");
    assert_eq!(list(&[]), "");
}
