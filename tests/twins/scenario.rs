//! A scenario: who leads each view, and who can talk to whom in it. Its text replays it.
//!
//! ```text
//!   4+1 three all  0:0234|1  0:02|134
//!   | |  |    |    | |
//!   | |  |    |    | the instances that hear each other in view 1, set by set
//!   | |  |    |    the validator that leads view 1
//!   | |  |    votes go to `all`, or to the `next` leader
//!   | |  commit rule: `three` or `two` certificates in a row
//!   | twins: validators 0 to twins - 1 have a second instance, numbered from `validators` on
//!   validators, of equal power
//! ```

use std::fmt;
use std::str::FromStr;

use hotstuff::algorithm::VoteTo;
use hotstuff::types::CommitRule;

/// One view of a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    pub leader: usize,
    /// The set that each instance is in.
    pub set_of: Vec<u8>,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    pub validators: usize,
    pub twins: usize,
    pub rule: CommitRule,
    pub vote_to: VoteTo,
    pub views: Vec<View>,
}

impl Scenario {
    pub fn instances(&self) -> usize {
        self.validators + self.twins
    }

    /// Whose key the instance has.
    pub fn key_of(&self, instance: usize) -> usize {
        match instance.checked_sub(self.validators) {
            Some(twin) => twin,
            None => instance,
        }
    }

    /// Whether the instance is the only one with its key.
    pub fn is_honest(&self, instance: usize) -> bool {
        (self.twins..self.validators).contains(&instance)
    }

    pub fn honest(&self) -> std::ops::Range<usize> {
        self.twins..self.validators
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
        self.views.iter().try_for_each(|view| write!(f, " {view}"))
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
        let views = words.map(|word| view(word, validators, validators + twins));
        Ok(Scenario {
            validators,
            twins,
            rule,
            vote_to,
            views: views.collect::<Result<_, _>>()?,
        })
    }
}

fn view(word: &str, validators: usize, instances: usize) -> Result<View, String> {
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
        Some(set_of) if leader < validators => Ok(View { leader, set_of }),
        _ => Err(wrong()),
    }
}
