//! All scenarios of a shape, symmetric ones once: counted exactly, enumerated, or drawn evenly.
//!
//! Renaming the validators without twins changes nothing, nor does renaming those with twins, nor
//! the two instances of one. A scenario is canonical if it is the least of those it can be renamed
//! to. Their number is that of the orbits, by Burnside's lemma.

use crate::rng::Rng;
use crate::scenario::View;

/// Who may lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaders {
    All,
    /// Only keys with twins: an honest leader is never more dangerous than they are.
    Twins,
}

/// How long the scenarios are, and who leads in them.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub views: u32,
    pub leaders: Leaders,
}

/// The choices that there are in each view, and what renaming makes of them.
pub struct Space {
    pub keys: usize,
    pub twins: usize,
    pub sets_max: u8,
    partitions: Vec<Vec<u8>>,
    /// Those in which somebody can go on: one set has the keys of a quorum.
    with_quorum: Vec<u32>,
    renamings: Vec<Renaming>,
}

/// What one renaming makes of each leader, and of each partition.
struct Renaming {
    leaders: Vec<usize>,
    partitions: Vec<u32>,
}

/// One choice for each view: the leader times the number of partitions, plus the partition.
pub type Choices = Vec<u32>;

impl Space {
    /// Partitions have at most `sets_max` sets; the last `fixed` keys are not renamed.
    pub fn new(keys: usize, twins: usize, fixed: usize, sets_max: u8) -> Space {
        let partitions = partitions(keys + twins, sets_max);
        // By what they are when read as numbers.
        let mut index = vec![0; usize::from(sets_max).pow((keys + twins) as u32)];
        for (position, partition) in partitions.iter().enumerate() {
            index[read(partition, sets_max)] = position as u32;
        }
        let renaming = |to: Vec<usize>| {
            let key = |instance: usize| match instance.checked_sub(keys) {
                Some(twin) => twin,
                None => instance,
            };
            let mut set_of = vec![0; to.len()];
            let mut renamed = |partition: &Vec<u8>| {
                (0..to.len()).for_each(|instance| set_of[to[instance]] = partition[instance]);
                number(&mut set_of);
                index[read(&set_of, sets_max)]
            };
            Renaming {
                partitions: partitions.iter().map(&mut renamed).collect(),
                leaders: (0..keys).map(|leader| key(to[leader])).collect(),
            }
        };
        let renamings = renamings(keys, twins, fixed);
        let has_quorum = |partition: &Vec<u8>| {
            (0..sets_max).any(|set| {
                let twin = |key: usize| key < twins && partition[keys + key] == set;
                let there = (0..keys).filter(|key| partition[*key] == set || twin(*key));
                3 * there.count() > 2 * keys
            })
        };
        let with_quorum = (0..partitions.len()).filter(|i| has_quorum(&partitions[*i]));
        Space {
            with_quorum: with_quorum.map(|index| index as u32).collect(),
            keys,
            twins,
            sets_max,
            renamings: renamings.into_iter().map(renaming).collect(),
            partitions,
        }
    }

    fn leaders(&self, shape: Shape) -> usize {
        match shape.leaders {
            Leaders::All => self.keys,
            Leaders::Twins => self.twins,
        }
    }

    fn choices(&self, shape: Shape) -> usize {
        self.leaders(shape) * self.partitions.len()
    }

    /// The number of canonical scenarios; exact where a `f64` is.
    pub fn count(&self, shape: Shape) -> f64 {
        let fixed = |renaming: &Renaming| {
            let leaders = (0..self.leaders(shape)).filter(|l| renaming.leaders[*l] == *l);
            let partitions = renaming.partitions.iter().enumerate();
            let partitions = partitions.filter(|(from, to)| *from == **to as usize);
            let choices = leaders.count() * partitions.count();
            (choices as f64).powi(shape.views as i32)
        };
        self.renamings.iter().map(fixed).sum::<f64>() / self.renamings.len() as f64
    }

    /// The least that `choices` can be renamed to.
    pub fn canonical(&self, choices: &[u32]) -> Choices {
        let count = self.partitions.len() as u32;
        let renamed = |renaming: &Renaming| -> Choices {
            let choice = |choice: &u32| {
                let leader = renaming.leaders[(choice / count) as usize] as u32;
                leader * count + renaming.partitions[(choice % count) as usize]
            };
            choices.iter().map(choice).collect()
        };
        let all = self.renamings.iter().map(renamed);
        all.min().expect("a group has a neutral element")
    }

    /// All canonical scenarios.
    pub fn all(&self, shape: Shape) -> Vec<Choices> {
        let base = self.choices(shape) as u64;
        let digits = |number: u64| -> Choices {
            let digit = |view| (number / base.pow(view) % base) as u32;
            (0..shape.views).map(digit).collect()
        };
        (0..base.pow(shape.views))
            .map(digits)
            .filter(|choices| self.canonical(choices) == *choices)
            .collect()
    }

    /// A canonical scenario, drawn evenly: but for the few that are symmetric in themselves, each
    /// is as likely as any other; or as any other with a quorum in every view.
    pub fn draw(&self, shape: Shape, needs_quorum: bool, rng: &mut Rng) -> Choices {
        let mut choice = |_| {
            let leader = rng.index(self.leaders(shape)) * self.partitions.len();
            leader as u32
                + match needs_quorum {
                    true => *rng.pick(&self.with_quorum),
                    false => rng.index(self.partitions.len()) as u32,
                }
        };
        let drawn: Choices = (0..shape.views).map(&mut choice).collect();
        self.canonical(&drawn)
    }

    pub fn views(&self, choices: &[u32]) -> Vec<View> {
        let view = |choice: &u32| View {
            leader: *choice as usize / self.partitions.len(),
            set_of: self.partitions[*choice as usize % self.partitions.len()].clone(),
        };
        choices.iter().map(view).collect()
    }
}

/// All ways to split `instances` into at most `sets_max` sets.
fn partitions(instances: usize, sets_max: u8) -> Vec<Vec<u8>> {
    let mut all = vec![vec![]];
    for _ in 0..instances {
        let longer = |partition: Vec<u8>| {
            let sets = partition.iter().max().map_or(0, |last| last + 1);
            (0..=sets.min(sets_max - 1)).map(move |set| [&partition[..], &[set]].concat())
        };
        all = all.into_iter().flat_map(longer).collect();
    }
    all
}

/// Numbers the sets anew, in the order of their first members.
fn number(set_of: &mut [u8]) {
    let mut names = [None; 256];
    let mut next = 0;
    for set in set_of {
        let name = &mut names[usize::from(*set)];
        *set = *name.get_or_insert_with(|| {
            next += 1;
            next - 1
        });
    }
}

/// The sets as the digits of a number.
fn read(set_of: &[u8], base: u8) -> usize {
    set_of.iter().fold(0, |number, set| {
        number * usize::from(base) + usize::from(*set)
    })
}

/// For each renaming, what becomes of each instance.
fn renamings(keys: usize, twins: usize, fixed: usize) -> Vec<Vec<usize>> {
    let mut all = Vec::new();
    let honest: Vec<usize> = (twins..keys - fixed).collect();
    for honest in orders(&honest) {
        for with_twin in orders(&(0..twins).collect::<Vec<_>>()) {
            for swaps in 0..1 << twins {
                let copies = with_twin.iter().map(|twin| keys + twin);
                let firsts = with_twin.iter().chain(&honest).copied();
                let firsts = firsts.chain(keys - fixed..keys);
                let mut to: Vec<usize> = firsts.chain(copies).collect();
                (0..twins)
                    .filter(|twin| swaps >> twin & 1 == 1)
                    .for_each(|twin| to.swap(twin, keys + twin));
                all.push(to);
            }
        }
    }
    all
}

fn orders(items: &[usize]) -> Vec<Vec<usize>> {
    if items.is_empty() {
        return vec![vec![]];
    }
    let with_first = |first: &usize| {
        let rest: Vec<usize> = items
            .iter()
            .filter(|item| *item != first)
            .copied()
            .collect();
        let first = *first;
        orders(&rest)
            .into_iter()
            .map(move |order| [&[first][..], &order].concat())
    };
    items.iter().flat_map(with_first).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const SMALL: Shape = Shape {
        views: 2,
        leaders: Leaders::All,
    };

    #[test]
    fn splits_and_renamings_are_as_many_as_they_should_be() {
        assert_eq!(partitions(5, 5).len(), 52); // Bell
        assert_eq!(partitions(5, 2).len(), 16); // 2^4
        assert_eq!(partitions(9, 3).len(), 1 + 255 + 3_025); // Stirling
        assert_eq!(renamings(4, 1, 0).len(), 6 * 2);
        assert_eq!(renamings(7, 2, 0).len(), 120 * 2 * 4);
        assert_eq!(renamings(8, 2, 2).len(), 24 * 2 * 4);
    }

    #[test]
    fn the_count_is_what_an_enumeration_finds() {
        for (twins, leaders) in [(1, Leaders::All), (2, Leaders::All), (2, Leaders::Twins)] {
            let space = Space::new(4, twins, 0, 2);
            let shape = Shape { leaders, ..SMALL };
            assert_eq!(
                space.count(shape),
                space.all(shape).len() as f64,
                "{shape:?}"
            );
        }
    }

    #[test]
    fn every_scenario_has_a_canonical_one_and_each_of_those_is_its_own() {
        let space = Space::new(4, 1, 0, 2);
        let all: BTreeSet<Choices> = space.all(SMALL).into_iter().collect();
        let mut rng = Rng::new(1);
        let drawn: Vec<Choices> = (0..20_000)
            .map(|_| space.draw(SMALL, false, &mut rng))
            .collect();
        assert!(drawn.iter().all(|choices| all.contains(choices)));
        assert_eq!(drawn.into_iter().collect::<BTreeSet<_>>(), all);
    }
}
