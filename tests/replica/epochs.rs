//! Validators that come and go while the chain runs.

use std::time::Duration;

use hotstuff::app::BlockTreeSnapshot;
use hotstuff::messages::{Message, ProgressMessage, Vote};
use hotstuff::replica::Replica;
use hotstuff::types::{
    codec, BlockHash, Epoch, Phase, Statement, ValidatorAddress, ViewNumber, VoteStatement,
};

use crate::cluster::{await_count, eventually, Cluster};

fn await_epoch(replica: &Replica, epoch: u64) {
    eventually("the epoch has begun", || {
        replica.info().epoch >= Epoch(epoch)
    });
}

/// The addresses of the current validators, and their powers.
fn validators(replica: &Replica) -> Vec<(ValidatorAddress, u64)> {
    let set = replica.snapshot().unwrap().validator_set().unwrap();
    let members = set.members().iter();
    members
        .map(|member| (member.address, member.power))
        .collect()
}

fn sorted(mut validators: Vec<(ValidatorAddress, u64)>) -> Vec<(ValidatorAddress, u64)> {
    validators.sort();
    validators
}

#[test]
fn validators_join_are_reweighted_and_leave() {
    let updates: [(u64, &[(usize, u64)]); 3] = [(10, &[(4, 1)]), (20, &[(1, 2)]), (30, &[(0, 0)])];
    let mut cluster = Cluster::with_updates(5, 4, &updates);
    cluster.base_ms = 200;
    cluster.sync.interval = Duration::from_millis(100);
    let cluster = cluster.start_all();
    assert!(!cluster.replica(4).info().is_validator);
    cluster.give_work(0, 25);
    cluster.await_count(25);
    cluster.give_work(4, 35); // who has joined leads, too
    cluster.await_count(60);
    let powers = [(1, 2), (2, 1), (3, 1), (4, 1)].map(|(i, power)| (cluster.address(i), power));
    for i in 0..5 {
        let info = cluster.replica(i).info();
        assert_eq!(info.epoch, Epoch(3));
        assert_eq!(info.is_validator, i != 0);
        assert_eq!(validators(cluster.replica(i)), sorted(powers.to_vec()));
    }
    assert!(cluster.replica(4).metrics().votes > 0);
    cluster.check_agreement();

    // Connected to when they join; disconnected from when they have left, and not at once.
    let joined = cluster.address(4);
    for i in 1..4 {
        let port = cluster.hub.at(&cluster.address(i));
        assert!(port.connected().contains(&joined), "replica {i}");
    }
    eventually("the removed one is disconnected from", || {
        cluster.give_work(1, 1);
        (1..5).all(|i| cluster.hub.at(&cluster.address(i)).disconnected() == [cluster.address(0)])
    });
}

#[test]
fn the_whole_set_is_replaced() {
    let powers: Vec<_> = (0..8).map(|i| (i, u64::from(i >= 4))).collect();
    let mut cluster = Cluster::with_updates(8, 4, &[(10, &powers)]);
    cluster.base_ms = 200;
    cluster.sync.interval = Duration::from_millis(100);
    let mut cluster = cluster.start_all();
    cluster.give_work(0, 10);
    cluster.await_count(10);
    for replica in cluster.running() {
        await_epoch(replica, 1);
    }
    // They need nobody of the old set.
    (0..4).for_each(|i| cluster.stop(i));
    cluster.give_work(5, 20);
    cluster.await_count(30);
    // Those of the old set come back as listeners.
    (0..4).for_each(|i| drop(cluster.start(i)));
    cluster.await_count(30);
    cluster.check_agreement();
    assert!((0..4).all(|i| !cluster.replica(i).info().is_validator));
}

#[test]
fn who_was_away_catches_up_through_the_epochs() {
    let updates: [(u64, &[(usize, u64)]); 12] =
        std::array::from_fn(|i| (10 + 2 * i as u64, [&[(1, 2)][..], &[(1, 1)]][i % 2]));
    let mut cluster = Cluster::with_updates(4, 4, &updates);
    cluster.base_ms = 100; // for a while one of four is dead
    let mut cluster = cluster.start_all();
    cluster.give_work(0, 5);
    cluster.await_count(5);
    cluster.stop(3);
    cluster.give_work(0, 45);
    cluster.await_count(50);
    cluster.start(3);
    await_count(cluster.replica(3), 50);
    await_epoch(cluster.replica(3), 12);
    // And all go on from disk.
    (0..4).for_each(|i| cluster.stop(i));
    (0..4).for_each(|i| drop(cluster.start(i)));
    assert!(cluster.running().all(|r| r.info().epoch == Epoch(12)));
    cluster.give_work(3, 5);
    cluster.await_count(55);
    cluster.check_agreement();
}

#[test]
fn who_was_cut_off_finds_back_without_asking_by_the_clock() {
    let updates: [(u64, &[(usize, u64)]); 2] = [(10, &[(1, 2)]), (20, &[(1, 1)])];
    let mut cluster = Cluster::with_updates(4, 4, &updates);
    cluster.base_ms = 100;
    cluster.sync.interval = Duration::from_secs(600); // who waits for it waits too long
    let cluster = cluster.start_all();
    cluster.give_work(0, 5);
    cluster.await_count(5);
    cluster.hub.cut_off(Some(cluster.address(3)));
    cluster.give_work(0, 25);
    for i in 0..3 {
        await_count(cluster.replica(i), 30);
    }
    assert_eq!(cluster.replica(3).info().epoch, Epoch(0));
    cluster.hub.cut_off(None);
    cluster.give_work(0, 5);
    cluster.await_count(35);
    cluster.check_agreement();
    assert!(cluster.running().all(|r| r.info().epoch == Epoch(2)));
}

#[test]
fn what_comes_before_its_epoch_is_judged_when_that_begins() {
    let cluster = Cluster::with_updates(5, 4, &[(5, &[(4, 1)])]).start_all();
    let (victim, early) = (cluster.address(0), cluster.address(4));
    let genesis = cluster.genesis.hash();
    let statement = VoteStatement {
        epoch: Epoch(1),
        view_num: ViewNumber(1),
        justify_view: ViewNumber(0),
        block_hash: BlockHash([5; 32]),
        phase: Phase::Generic,
    };
    let signature = cluster.keys[4].sign(&Statement::Vote(statement).digest(&genesis));
    let mut forged = Vote {
        statement,
        voter: early,
        signature,
    };
    forged.signature.0[7] ^= 1;
    let message = Message::Progress(ProgressMessage::Vote(forged));
    let before = cluster.replica(0).metrics().messages_in;
    cluster.hub.inject(early, &victim, &codec::encode(&message));
    eventually("it has arrived", || {
        cluster.replica(0).metrics().messages_in > before
    });
    cluster.give_work(0, 4);
    cluster.await_count(4);
    assert_eq!(
        cluster.rejected(0, early).get("vote: wrong signature"),
        None
    );
    cluster.give_work(0, 6);
    cluster.await_count(10);
    eventually("it is judged", || {
        cluster.rejected(0, early).get("vote: wrong signature") == Some(&1)
    });
}
