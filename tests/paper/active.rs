//! Leaders are those who have signed lately (`LeaderRule::Active`): views 8 k to 8 k + 7 of four
//! validators are term k, and the committed blocks of term k - 2 tell who leads in it.

use hotstuff::algorithm::{Durable, Event};
use hotstuff::types::*;

use crate::fixture::*;

/// The leader of `view`, as a replica says that wakes up in it and has committed all blocks up to
/// `committed`. `signs` tells who has signed the certificate in the block of a view.
fn leader(view: u64, committed: u64, signs: impl Fn(u64, usize) -> bool) -> usize {
    leader_by(LeaderRule::Active, view, committed, signs)
}

fn leader_by(
    leader_rule: LeaderRule,
    view: u64,
    committed: u64,
    signs: impl Fn(u64, usize) -> bool,
) -> usize {
    let setup = Setup {
        leader_rule,
        ..Setup::default()
    };
    let change = |f: &Fixture, durable: &mut Durable| {
        for view in 1..=committed {
            let signers: Vec<usize> = (0..4).filter(|who| signs(view, *who)).collect();
            let parent = f.block(view - 1, view - 1, &f.genesis_qc(), b"");
            let justify = f.qc(f.statement(&parent), &signers);
            let block = f.block(view, view, &justify, b"");
            durable.activity.commit(&block.header);
            durable.committed.rank.view = ViewNumber(view);
            durable.committed.height = BlockHeight(view);
        }
        let last = f.block(view - 1, view - 1, &f.genesis_qc(), b"");
        durable.highest_qc = f.qc_of(&last);
    };
    let mut f = Fixture::recovered(setup, change);
    let opening = f.opening.take().expect("it was opened");
    assert_eq!(f.view(), view);
    let mut events = opening.dispatch.events.iter().rev();
    let leader = events.find_map(|event| match event {
        Event::ViewStarted { leader, .. } => Some(f.who(leader)),
        _ => None,
    });
    leader.expect("a view has begun")
}

/// The turn of a view among these.
fn turn(view: u64, among: &[usize]) -> usize {
    among[(view % among.len() as u64) as usize]
}

const ALL: [usize; 4] = [0, 1, 2, 3];

#[test]
fn who_does_not_sign_leads_no_more() {
    for dead in ALL {
        let others: Vec<usize> = ALL.into_iter().filter(|who| *who != dead).collect();
        for view in 16..64 {
            assert_eq!(
                leader(view, view - 3, |_, who| who != dead),
                turn(view, &others)
            );
        }
    }
}

#[test]
fn by_round_robin_all_lead() {
    for view in 16..32 {
        let leader = leader_by(LeaderRule::RoundRobin, view, view - 3, |_, who| who != 2);
        assert_eq!(leader, turn(view, &ALL));
    }
}

#[test]
fn in_the_first_two_terms_all_lead() {
    for view in 4..16 {
        assert_eq!(leader(view, view - 3, |_, who| who != 1), turn(view, &ALL));
    }
}

#[test]
fn one_signature_in_the_term_before_the_last_is_enough() {
    let signs = |view, who| who != 3 || view == 31;
    for view in 40..48 {
        assert_eq!(
            leader(view, view - 2, signs),
            turn(view, &ALL),
            "term 5 looks at term 3"
        );
        assert_eq!(
            leader(view + 8, view + 6, signs),
            turn(view + 8, &[0, 1, 2])
        );
    }
}

#[test]
fn when_nothing_was_committed_for_a_term_all_lead() {
    let signs = |_, who| who != 0;
    for view in 40..48 {
        assert_eq!(leader(view, view - 8, signs), turn(view, &[1, 2, 3]));
        assert_eq!(leader(view, view - 9, signs), turn(view, &ALL));
    }
}

#[test]
fn in_every_sixteenth_term_one_who_does_not_sign_leads_too() {
    let signs = |_, who| who != 0;
    for view in 128..136 {
        assert_eq!(leader(view, view - 2, signs), turn(view, &ALL));
        assert_eq!(
            leader(view + 8, view + 6, signs),
            turn(view + 8, &[1, 2, 3])
        );
    }
}

/// Too few are left to lead alone, if blocks with fewer signers than a quorum were there at all.
#[test]
fn fewer_than_a_quorum_do_not_lead_alone() {
    for view in 40..48 {
        assert_eq!(leader(view, view - 2, |_, who| who < 2), turn(view, &ALL));
    }
}
