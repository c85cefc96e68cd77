//! A scenario: who leads each view, and who can talk to whom in it. Its text replays it.
//!
//! ```text
//!   4+1 three all change@2:-3+4  0:0245|13  0:02|1345  /  1:01234|5
//!   | |  |    |          | | |   | |                   |
//!   | |  |    |          | | |   | |                   views of the next epoch
//!   | |  |    |          | | |   | the instances that hear each other in view 1, set by set
//!   | |  |    |          | | |   the validator that leads view 1
//!   | |  |    |          | | the next validator joins
//!   | |  |    |          | a validator leaves
//!   | |  |    |          who leads from this view on proposes that
//!   | |  |    votes go to `all`, or to the `next` leader
//!   | |  commit rule: `three` or `two` certificates in a row
//!   | twins: keys 0 to twins - 1 have a second instance, numbered after all keys
//!   validators, of equal power
//! ```

use std::fmt;
use std::str::FromStr;

use hotstuff::algorithm::VoteTo;
use hotstuff::types::{CommitRule, Epoch, Rank, ViewNumber};

/// One view of a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    pub leader: usize,
    /// The set that each instance is in.
    pub set_of: Vec<u8>,
}

/// A change of the validator set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    pub from_view: u64,
    pub leaves: Option<usize>,
    /// The key after those of the first validators joins.
    pub joins: bool,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// Of the first epoch.
    pub validators: usize,
    pub twins: usize,
    pub rule: CommitRule,
    pub vote_to: VoteTo,
    pub change: Option<Change>,
    pub views: Vec<View>,
    /// Of the epoch that the change begins.
    pub later_views: Vec<View>,
}

impl Scenario {
    pub fn keys(&self) -> usize {
        self.validators + usize::from(self.change.is_some_and(|change| change.joins))
    }

    pub fn instances(&self) -> usize {
        self.keys() + self.twins
    }

    /// Whose key the instance has.
    pub fn key_of(&self, instance: usize) -> usize {
        match instance.checked_sub(self.keys()) {
            Some(twin) => twin,
            None => instance,
        }
    }

    /// Whether the instance is the only one with its key.
    pub fn is_honest(&self, instance: usize) -> bool {
        self.honest().contains(&instance)
    }

    pub fn honest(&self) -> std::ops::Range<usize> {
        self.twins..self.keys()
    }

    /// Where the scenario ends: epoch and last view.
    pub fn last(&self) -> Rank {
        let (epoch, views) = match self.change {
            Some(_) => (1, &self.later_views),
            None => (0, &self.views),
        };
        Rank {
            epoch: Epoch(epoch),
            view: ViewNumber(views.len() as u64),
        }
    }

    /// What holds in a view; nothing after the last one of an epoch.
    pub fn view(&self, rank: Rank) -> Option<&View> {
        let views = match rank.epoch.0 {
            0 => &self.views,
            _ => &self.later_views,
        };
        views.get((rank.view.0 as usize).checked_sub(1)?)
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = match self.rule {
            CommitRule::ThreeChain => "three",
            CommitRule::TwoChain => "two",
        };
        let vote_to = match self.vote_to {
            VoteTo::NextLeader => "next",
            _ => "all",
        };
        write!(f, "{}+{} {rule} {vote_to} ", self.validators, self.twins)?;
        if let Some(change) = &self.change {
            write!(f, "change@{}:", change.from_view)?;
            change.leaves.map_or(Ok(()), |key| write!(f, "-{key}"))?;
            let joins = change.joins.then_some(self.validators);
            joins.map_or(Ok(()), |key| write!(f, "+{key}"))?;
        }
        self.views
            .iter()
            .try_for_each(|view| write!(f, " {view}"))?;
        if self.change.is_some() {
            write!(f, " /")?;
        }
        let mut later = self.later_views.iter();
        later.try_for_each(|view| write!(f, " {view}"))
    }
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.leader)?;
        let sets = self.set_of.iter().max().map_or(0, |last| last + 1);
        for set in 0..sets {
            if set > 0 {
                write!(f, "|")?;
            }
            let members = (0..self.set_of.len()).filter(|i| self.set_of[*i] == set);
            members.into_iter().try_for_each(|i| write!(f, "{i}"))?;
        }
        Ok(())
    }
}

impl FromStr for Scenario {
    type Err = String;

    fn from_str(text: &str) -> Result<Scenario, String> {
        let mut words = text.split_whitespace();
        let mut word = |what: &str| words.next().ok_or(format!("{what} is missing"));
        let (validators, twins) = word("validators+twins")?
            .split_once('+')
            .and_then(|(n, t)| Some((n.parse().ok()?, t.parse().ok()?)))
            .filter(|(n, t)| t <= n && n + t <= 10)
            .ok_or("the first word is like 4+1, with at most 10 instances")?;
        let rule = match word("the commit rule")? {
            "three" => CommitRule::ThreeChain,
            "two" => CommitRule::TwoChain,
            other => return Err(format!("{other:?} is no commit rule")),
        };
        let vote_to = match word("vote_to")? {
            "all" => VoteTo::All,
            "next" => VoteTo::NextLeader,
            other => return Err(format!("votes go to all or next, not {other:?}")),
        };
        let mut words = words.peekable();
        let change = words
            .next_if(|word| word.starts_with("change@"))
            .map(|word| change(word, validators))
            .transpose()?;
        let mut scenario = Scenario {
            validators,
            twins,
            rule,
            vote_to,
            change,
            views: Vec::new(),
            later_views: Vec::new(),
        };
        let (keys, instances) = (scenario.keys(), scenario.instances());
        let mut is_later = false;
        for word in words {
            match (word, is_later) {
                ("/", false) if change.is_some() => is_later = true,
                (_, false) => scenario.views.push(view(word, keys, instances)?),
                (_, true) => scenario.later_views.push(view(word, keys, instances)?),
            }
        }
        Ok(scenario)
    }
}

fn change(word: &str, validators: usize) -> Result<Change, String> {
    let wrong = || format!("{word:?} is not like change@2:-3+{validators}");
    let (_, rest) = word.split_once('@').ok_or_else(wrong)?;
    let (from_view, updates) = rest.split_once(':').ok_or_else(wrong)?;
    let joins = updates.ends_with(&format!("+{validators}"));
    let leaves = updates.split('+').next().unwrap_or_default();
    let leaves = leaves.strip_prefix('-').map(str::parse).transpose();
    let leaves: Option<usize> = leaves.map_err(|_| wrong())?;
    let is_sound = leaves.is_none_or(|key| key < validators) && (joins || leaves.is_some());
    let from_view = from_view.parse().map_err(|_| wrong())?;
    let change = Change {
        from_view,
        leaves,
        joins,
    };
    is_sound.then_some(change).ok_or_else(wrong)
}

fn view(word: &str, keys: usize, instances: usize) -> Result<View, String> {
    let wrong = || format!("{word:?} is not like 0:0123|4, each of the {instances} once");
    let (leader, sets) = word.split_once(':').ok_or_else(wrong)?;
    let leader: usize = leader.parse().map_err(|_| wrong())?;
    let mut set_of = vec![None; instances];
    for (set, members) in sets.split('|').enumerate() {
        for member in members.chars() {
            let member = member.to_digit(10).ok_or_else(wrong)? as usize;
            let slot = set_of.get_mut(member).ok_or_else(wrong)?;
            if slot.replace(set as u8).is_some() {
                return Err(wrong());
            }
        }
    }
    let set_of: Option<Vec<u8>> = set_of.into_iter().collect();
    match set_of {
        Some(set_of) if leader < keys => Ok(View { leader, set_of }),
        _ => Err(wrong()),
    }
}
