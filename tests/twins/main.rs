//! Twins (Bano et al., 2020): Byzantine replicas are made of correct ones. A twin is a second
//! instance with the key of a first; both run the real core and keep every rule, each for itself,
//! and so the key equivocates, forgets and double-votes in every way that honest code can.
//!
//! ```text
//!   Shape -> Space: canonical scenarios, counted | enumerated | drawn   (canonical.rs)
//!         -> Scenario: leader and split of the network for each view    (scenario.rs)
//!         -> World: instances (node.rs), a clock, a network, a Checker  (world.rs)
//! ```
//!
//! The invariants of the simulation are checked after every event, agreement among them; after the
//! scenario the network heals, and every honest replica must commit ten blocks more. A scenario
//! that breaks a rule fails the run, and its text replays it:
//!
//! - `make twins`: a minute of scenarios on all cores; `SECONDS=s` for longer.
//! - `make twins SCENARIO='4+1 three all 0:0234|1 0:02|134'`: one of them, with its story.
//!
//! Not done: crashes and lost messages within a set (the simulation does those), delays as part of
//! what is enumerated (each scenario has its own, drawn from its text).

mod canonical;
#[allow(dead_code)] // of what is shared with the simulation, each uses its part
#[path = "../simulation/disk.rs"]
mod disk;
#[allow(dead_code)]
#[path = "../simulation/invariants.rs"]
mod invariants;
#[allow(dead_code)]
#[path = "../simulation/keys.rs"]
mod keys;
mod node;
#[allow(dead_code)]
#[path = "../simulation/rng.rs"]
mod rng;
mod scenario;
#[allow(dead_code)]
#[path = "../simulation/trace.rs"]
mod trace;
mod world;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hotstuff::algorithm::VoteTo;
use hotstuff::types::CommitRule;

use canonical::{Choices, Leaders, Shape, Space};
use rng::{mix, Rng};
use scenario::{Change, Scenario};
use world::{run, Outcome};

/// Small enough to be run completely: 4 validators, one of them twins, which always lead, and at
/// most two sets.
const COMPLETE: Shape = Shape {
    views: 4,
    leaders: Leaders::Twins,
};

/// Too many to be run, so they are sampled: (validators, twins), with up to [`SETS_MAX`] sets.
const SAMPLED: [(usize, usize); 3] = [(4, 1), (7, 1), (7, 2)];
const SAMPLED_VIEWS: std::ops::RangeInclusive<u32> = 4..=11;
const SETS_MAX: u8 = 3;

/// Scenarios that once broke a rule, and why.
const REGRESSIONS: [(&str, &str); 2] = [
    (
        "4+1 two next 0:0123|4 0:01234 0:012|34 0:01|234 0:01|24|3 0:014|2|3 0:01|2|34 0:01|234 \
         0:02|134 0:014|2|3",
        "cut off for long, a replica asked nobody for long after: the pauses had grown without end",
    ),
    (
        "4+1 three next 0:01|23|4 0:012|34 0:01|234 0:024|13 0:03|124 0:0134|2 0:03|12|4 0:04|13|2 \
         0:0124|3 0:01|24|3",
        "the same",
    ),
];

/// Set changes. Instances 0 and 5 have key 0; 4 joins.
const DIRECTED: [&str; 6] = [
    // Nothing in the way.
    "4+1 three all change@1:-3+4 0:012345 0:012345 0:012345 0:012345 / 0:012345 0:012345",
    // The end of the epoch is seen by one half of the twins and one more; the old set goes on.
    "4+1 three all change@1:-3+4 1:012345 2:012345 3:012345 0:01|2345 0:01|2345 / 0:01|2345",
    "4+1 two all change@1:-3+4 1:012345 2:012345 0:01|2345 0:01|2345 / 0:01|2345 0:014|235",
    // The twins leave, and go on in the epoch they knew; and each with another half of the new set.
    "4+1 three all change@1:-0+4 0:012345 0:012345 0:01234|5 0:01234|5 / 0:01234|5 1:0123|45",
    // The one that joins is cut off until long after.
    "4+1 three all change@1:+4 0:01235|4 0:01235|4 0:01235|4 0:01235|4 / 0:01235|4 1:01235|4",
    // The twins offer the change to each half.
    "4+1 two all change@2:-3+4 1:012345 0:0124|35 0:035|124 0:012345 / 0:012|345 0:013|245",
];

/// Scenarios of a shape that are remembered, so that none is run twice.
const REMEMBERED_MAX: usize = 1 << 20;

/// Also sampled: (validators, twins, who leaves, whether a new one joins), with half of the views
/// in each epoch. Twins have less than a third of the power in both.
const CHANGES: [(usize, usize, Option<usize>, bool); 6] = [
    (4, 1, Some(3), true),
    (4, 1, Some(0), true),
    (4, 1, None, true),
    (7, 1, Some(6), false),
    (7, 2, Some(6), true),
    (7, 2, None, true),
];
const CHANGES_VIEWS: [u32; 2] = [8, 12];

/// The scenarios of one shape, and what came of those that ran.
struct Campaign {
    validators: usize,
    /// The view from which on the change is proposed is not decided here.
    change: Option<Change>,
    space: Arc<Space>,
    shape: Shape,
    /// All of them, if the shape is to be run completely.
    all: Option<Vec<Choices>>,
    seen: BTreeSet<Choices>,
    sum: Sum,
}

#[derive(Default)]
struct Sum {
    runs: u64,
    violations: u64,
    with_early_commits: u64,
    trailing_views_max: u64,
}

impl Campaign {
    fn new(validators: usize, space: Arc<Space>, shape: Shape) -> Campaign {
        Campaign {
            validators,
            change: None,
            space,
            shape,
            all: None,
            seen: BTreeSet::new(),
            sum: Sum::default(),
        }
    }

    /// All campaigns; the first is the complete one.
    fn all() -> Vec<Mutex<Campaign>> {
        let mut complete = Campaign::new(4, Arc::new(Space::new(4, 1, 0, 2)), COMPLETE);
        complete.all = Some(complete.space.all(COMPLETE));
        let mut all = vec![complete];
        let leaders = Leaders::All;
        for (validators, twins) in SAMPLED {
            let space = Arc::new(Space::new(validators, twins, 0, SETS_MAX));
            all.extend(
                SAMPLED_VIEWS.map(|views| {
                    Campaign::new(validators, space.clone(), Shape { views, leaders })
                }),
            );
        }
        for (validators, twins, leaves, joins) in CHANGES {
            // Whoever leaves or joins is not like the others.
            let is_honest = leaves.is_some_and(|key| key >= twins);
            let fixed = usize::from(joins) + usize::from(is_honest);
            let keys = validators + usize::from(joins);
            let space = Arc::new(Space::new(keys, twins, fixed, SETS_MAX));
            let change = Change {
                from_view: 0,
                leaves,
                joins,
            };
            all.extend(CHANGES_VIEWS.map(|views| Campaign {
                change: Some(change),
                ..Campaign::new(validators, space.clone(), Shape { views, leaders })
            }));
        }
        all.into_iter().map(Mutex::new).collect()
    }

    /// The scenario of these choices: with a change, half of the views lie in each epoch, and it
    /// may be proposed from the first view on or from the second.
    fn scenario(&self, choices: &[u32]) -> Scenario {
        let mut views = self.space.views(choices);
        let from_view = 1 + u64::from(choices[0] % 2);
        let change = self.change.map(|change| Change {
            from_view,
            ..change
        });
        let later_views = match change {
            Some(_) => views.split_off(views.len() / 2),
            None => vec![],
        };
        Scenario {
            validators: self.validators,
            twins: self.space.twins,
            rule: CommitRule::ThreeChain,
            vote_to: VoteTo::All,
            change,
            views,
            later_views,
        }
    }

    /// The next scenario, if there is one that has not run: of a complete shape in long strides, so
    /// that a part is an even part. In half of those that are drawn only twins lead, in half every
    /// view has a quorum that can talk.
    fn next(&mut self, rng: &mut Rng) -> Option<Choices> {
        let drawn = match &self.all {
            Some(all) => {
                let stride = 4_241 * self.seen.len(); // a prime
                (self.seen.len() < all.len()).then(|| all[stride % all.len()].clone())?
            }
            None => {
                let leaders = [Leaders::All, Leaders::Twins][rng.index(2)];
                let needs_quorum = rng.chance(500);
                let shape = Shape {
                    leaders,
                    ..self.shape
                };
                self.space.draw(shape, needs_quorum, rng)
            }
        };
        let is_new = self.seen.len() < REMEMBERED_MAX && self.seen.insert(drawn.clone());
        is_new.then_some(drawn)
    }

    fn account(&mut self, scenario: &Scenario, outcome: &Outcome) {
        let sum = &mut self.sum;
        sum.runs += 1;
        sum.with_early_commits += u64::from(outcome.early_commits > 0);
        sum.trailing_views_max = sum.trailing_views_max.max(outcome.trailing_views);
        if let Some(violation) = &outcome.violation {
            sum.violations += 1;
            println!("{violation}\n    make twins SCENARIO='{scenario}'");
        }
    }
}

/// The settings that each scenario is run with.
fn settings() -> impl Iterator<Item = (CommitRule, VoteTo)> {
    let rules = [CommitRule::ThreeChain, CommitRule::TwoChain];
    rules
        .into_iter()
        .flat_map(|rule| [VoteTo::All, VoteTo::NextLeader].map(|vote_to| (rule, vote_to)))
}

/// Runs scenarios of all shapes in turn until the time is up, and prints what came of them.
fn explore(seed: u64, budget: Duration) -> u64 {
    let campaigns = Campaign::all();
    let start = Instant::now();
    let turn = AtomicU64::new(0);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while start.elapsed() < budget {
                    let turn = turn.fetch_add(1, Ordering::Relaxed);
                    let mut rng = Rng::new(mix(seed) ^ turn);
                    // Three of four belong to the shape that can be run completely, until it is.
                    let sampled = 1 + (turn / 4) as usize % (campaigns.len() - 1);
                    if turn % 4 == 0 || !try_one(&campaigns[0], &mut rng) {
                        try_one(&campaigns[sampled], &mut rng);
                    }
                }
            });
        }
    });
    report(campaigns, start.elapsed())
}

/// Runs the campaign's next scenario, if there is one that has not run.
fn try_one(campaign: &Mutex<Campaign>, rng: &mut Rng) -> bool {
    let lock = || campaign.lock().expect("nobody panics with it");
    let scenario = {
        let mut campaign = lock();
        let Some(choices) = campaign.next(rng) else {
            return false;
        };
        campaign.scenario(&choices)
    };
    for (rule, vote_to) in settings() {
        let scenario = Scenario {
            rule,
            vote_to,
            ..scenario.clone()
        };
        let outcome = run(&scenario, false);
        lock().account(&scenario, &outcome);
    }
    true
}

fn report(campaigns: Vec<Mutex<Campaign>>, took: Duration) -> u64 {
    println!(
        "  n twins change views leaders sets  canonical     ran     runs committing trailing \
         violations"
    );
    let (mut runs, mut violations) = (0, 0);
    for campaign in campaigns {
        let campaign = campaign.into_inner().expect("nobody panics with it");
        let change = campaign.change.map_or(String::new(), |change| {
            let leaves = change.leaves.map_or(String::new(), |key| format!("-{key}"));
            let joins = change.joins.then_some(campaign.validators);
            leaves + &joins.map_or(String::new(), |key| format!("+{key}"))
        });
        let Campaign {
            space, shape, sum, ..
        } = campaign;
        println!(
            "{:>3} {:>5} {change:>6} {:>5} {:>7} {:>4} {:>10} {:>7} {:>8} {:>10} {:>8} {:>10}",
            campaign.validators,
            space.twins,
            shape.views,
            format!("{:?}", shape.leaders),
            space.sets_max,
            number(space.count(shape)),
            campaign.seen.len(),
            sum.runs,
            sum.with_early_commits,
            sum.trailing_views_max,
            sum.violations,
        );
        runs += sum.runs;
        violations += sum.violations;
    }
    println!(
        "{runs} runs in {:.1} s, {violations} violations, {} trailing commits on every honest \
         replica in each\n\
         ran: canonical scenarios, each under both commit rules and both vote_to: four runs\n\
         committing: runs with commits before the network healed\n\
         trailing: the most views until the trailing commits were done",
        took.as_secs_f64(),
        world::TRAILING,
    );
    violations
}

fn number(count: f64) -> String {
    if count < 1e10 {
        format!("{count:.0}")
    } else {
        format!("{count:.3e}")
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

/// `SCENARIO=`: one, with its story. `SECONDS=`: for so long. Neither: a few seconds.
#[test]
fn budget() {
    if let Some(text) = variable("SCENARIO") {
        let scenario: Scenario = text.parse().unwrap_or_else(|why| panic!("SCENARIO: {why}"));
        let outcome = run(&scenario, true);
        return assert_eq!(outcome.violation, None, "{outcome:?}");
    }
    let seconds = variable("SECONDS").map(|text| text.parse().expect("SECONDS is a number"));
    // A longer run is another run: it begins elsewhere.
    let violations = explore(
        seconds.unwrap_or(0),
        Duration::from_secs(seconds.unwrap_or(8)),
    );
    assert!(violations == 0, "{violations} scenarios broke a rule");
}

#[test]
fn regressions() {
    for (text, story) in REGRESSIONS {
        let scenario = text.parse().unwrap_or_else(|why| panic!("{text}: {why}"));
        assert_eq!(run(&scenario, false).violation, None, "{story}: {text}");
    }
}

#[test]
fn a_text_is_its_scenario() {
    let text = "7+2 two next  0:0123|456|78 6:012345678";
    let scenario: Scenario = text.parse().expect("a scenario");
    assert_eq!(scenario.to_string(), text);
    assert_eq!(scenario.views[0].set_of, [0, 0, 0, 0, 1, 1, 1, 2, 2]);
    let text = "4+1 three all change@2:-3+4 0:012345 / 4:0123|45";
    let scenario: Scenario = text.parse().expect("a scenario");
    assert_eq!(scenario.to_string(), text);
    assert_eq!(
        (scenario.keys(), scenario.key_of(5), scenario.key_of(4)),
        (5, 0, 4)
    );
    for wrong in [
        "",
        "4+1 one all",
        "4+1 two all 0:0123",
        "4+1 two all 4:01234",
        "9+9 two all",
    ] {
        assert!(wrong.parse::<Scenario>().is_err(), "{wrong}");
    }
}

fn forks(scenario: &Scenario) -> bool {
    let violation = run(scenario, false).violation;
    violation.is_some_and(|violation| violation.starts_with("agreement"))
}

/// The oracle fires: with a third of the power or more, twins serve each half a chain of its own.
#[test]
fn two_twins_of_four_fork() {
    for (rule, vote_to) in settings() {
        let mut scenario: Scenario = "4+2 two all".parse().expect("a scenario");
        let view: Scenario = "4+2 two all 0:012|345".parse().expect("a scenario");
        scenario.views = vec![view.views[0].clone(); 6];
        assert!(
            forks(&Scenario {
                rule,
                vote_to,
                ..scenario
            }),
            "{rule:?} {vote_to:?}"
        );
    }
}

/// And the search finds it by itself.
#[test]
fn a_fork_of_two_twins_of_four_is_found() {
    let space = Arc::new(Space::new(4, 2, 0, 2));
    let shape = Shape {
        views: 6,
        ..COMPLETE
    };
    let campaign = Campaign::new(4, space.clone(), shape);
    let mut rng = Rng::new(3);
    let forks = |_: &usize| {
        let scenario = campaign.scenario(&space.draw(shape, false, &mut rng));
        forks(&Scenario {
            rule: CommitRule::TwoChain,
            ..scenario
        })
    };
    let tried = (1..=2_000).find(forks);
    println!("a fork in scenario {tried:?}");
    assert!(tried.is_some(), "no fork");
}

/// A set change with its twins, in cases that a draw may miss: the certificate that ends the epoch
/// is known to few, and the others go on; the twins lead on both sides of the change.
#[test]
fn directed_changes() {
    for text in DIRECTED {
        let scenario: Scenario = text.parse().unwrap_or_else(|why| panic!("{text}: {why}"));
        for (rule, vote_to) in settings() {
            let scenario = Scenario {
                rule,
                vote_to,
                ..scenario.clone()
            };
            assert_eq!(run(&scenario, false).violation, None, "{scenario}");
        }
    }
}
