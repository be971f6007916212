use super::*;

fn peers(of: PeerSet, each: &[PeerPart]) -> Part {
    Part::Peers(Peers { of, each: each.to_vec(), separator: ",".into() })
}

fn peer(address: &str, port: Option<u16>) -> Peer {
    Peer { address: address.into(), port }
}

#[test]
fn holes_are_filled_in_order() {
    let endpoint = Template(vec![
        Part::Hole(Variable::LeaderHost),
        Part::Text(":".into()),
        Part::Hole(Variable::StorePort),
    ]);
    let filled = endpoint.fill(&Roster::empty(), |variable| match variable {
        Variable::LeaderHost => "10.0.0.1".into(),
        Variable::StorePort => "29500".into(),
        other => format!("{other:?}"),
    });
    assert_eq!(filled, "10.0.0.1:29500");
    assert!(endpoint.mentions(Variable::StorePort));
    assert!(!endpoint.mentions(Variable::FreePort));
    assert!(!endpoint.mentions_peers());
}

#[test]
fn peers_are_listed_by_index_and_an_own_entry_is_only_the_own_one() {
    let endpoint = [PeerPart::Host, PeerPart::Text(":".into()), PeerPart::Port];
    let indexed = [PeerPart::Index, PeerPart::Text("=".into()), PeerPart::Address];
    let template = Template(vec![
        Part::Text("[".into()),
        peers(PeerSet::Role(RoleIndex(1)), &endpoint),
        Part::Text("] ".into()),
        peers(PeerSet::Own, &indexed),
    ]);
    let roles = [
        vec![peer("10.0.0.1", None)],
        vec![peer("10.0.0.1", Some(4001)), peer("fd00::2", Some(4002))],
    ];
    let roster = Roster { roles: &roles, own_role: RoleIndex(1), own_index: 1 };
    let filled = template.fill(&roster, |variable| format!("{variable:?}"));
    assert_eq!(filled, "[10.0.0.1:4001,[fd00::2]:4002] 1=fd00::2");
    assert!(template.mentions_peers());
}

#[test]
fn a_port_is_mentioned_for_the_roles_that_are_listed_with_it() {
    let (first, second) = (RoleIndex(0), RoleIndex(1));
    let listed = Template(vec![peers(PeerSet::Role(second), &[PeerPart::Port])]);
    assert!(listed.mentions_port_of(second, first));
    assert!(!listed.mentions_port_of(first, first));
    let own = Template(vec![peers(PeerSet::Own, &[PeerPart::Port])]);
    assert!(own.mentions_port_of(first, first));
    assert!(!own.mentions_port_of(first, second));
    let without = Template(vec![peers(PeerSet::Role(first), &[PeerPart::Address])]);
    assert!(!without.mentions_port_of(first, first));
}
