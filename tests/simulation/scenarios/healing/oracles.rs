//! A forged history: the promise of this file can be broken.

use super::heal;
use crate::world::oracles::half_dead;

#[test]
fn a_cluster_that_commits_too_late() {
    let mut world = half_dead();
    heal(&mut world);
    let broken = world.violation().map(|violation| violation.rule);
    assert_eq!(broken, Some("commits-soon-after-healing"));
}
