//! The counters as text, for Prometheus: exposition format 0.0.4.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Info, Metrics};

/// Where the replica is, and its counters. No line names a peer: strangers would make lines.
pub(super) fn text(info: &Info, metrics: &Metrics) -> String {
    let mut text = Text::default();
    text.gauge("epoch", "The epoch.", metrics.epoch);
    text.gauge("view", "The view of the epoch.", metrics.current_view);
    text.gauge(
        "committed_height",
        "The height of the last committed block.",
        metrics.committed_height,
    );
    text.gauge(
        "highest_qc_view",
        "The view of the highest quorum certificate.",
        info.highest_qc_view.0,
    );
    text.gauge(
        "sync_target_height",
        "The height it is catching up to; 0 when it is not.",
        info.sync_target_height.0,
    );
    let flags = [
        ("validator", "1 if it may vote.", info.is_validator),
        ("halted", "1 if it has stopped itself.", info.is_halted),
        (
            "silenced",
            "1 if its own key was seen to sign elsewhere: it signs nothing more.",
            info.is_silenced,
        ),
    ];
    for (name, help, flag) in flags {
        text.gauge(name, help, u64::from(flag));
    }
    let counters = [
        ("proposals", "Blocks proposed.", metrics.proposals),
        ("votes", "Votes cast.", metrics.votes),
        (
            "view_timeouts",
            "Views that have run out.",
            metrics.view_timeouts,
        ),
        (
            "messages_received",
            "Messages received.",
            metrics.messages_in,
        ),
        (
            "messages_sent",
            "Messages sent; a broadcast counts once for each other validator.",
            metrics.messages_out,
        ),
        ("received_bytes", "Bytes received.", metrics.bytes_in),
        (
            "sent_bytes",
            "Bytes sent; a broadcast counts once for each other validator.",
            metrics.bytes_out,
        ),
        (
            "events_dropped",
            "Events lost because the host was slow to take them.",
            metrics.events_dropped,
        ),
        (
            "transactions",
            "Transactions on the database.",
            metrics.transactions,
        ),
        (
            "app_failures",
            "Questions that the app did not answer.",
            metrics.app_failures,
        ),
        (
            "evidence_found",
            "Validators newly caught contradicting themselves.",
            metrics.evidence_found,
        ),
    ];
    for (name, help, value) in counters {
        text.counter(name, help);
        text.sample(&format!("{name}_total"), "", value);
    }
    text.rejected(metrics);
    text.0
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, help, "gauge");
        self.sample(name, "", value);
    }

    fn counter(&mut self, name: &str, help: &str) {
        self.family(&format!("{name}_total"), help, "counter");
    }

    fn rejected(&mut self, metrics: &Metrics) {
        let mut by_what: BTreeMap<&str, u64> = BTreeMap::new();
        for (_, what, count) in &metrics.rejected_by {
            *by_what.entry(what).or_default() += count;
        }
        self.counter(
            "messages_rejected",
            "Messages received that were refused or dropped.",
        );
        for (what, count) in by_what {
            let (kind, reason) = what.split_once(": ").unwrap_or((what, ""));
            let labels = format!("{{kind=\"{}\",reason=\"{}\"}}", label(kind), label(reason));
            self.sample("messages_rejected_total", &labels, count);
        }
    }

    fn family(&mut self, name: &str, help: &str, kind: &str) {
        let _ = writeln!(self.0, "# HELP hotstuff_{name} {help}");
        let _ = writeln!(self.0, "# TYPE hotstuff_{name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &str, value: u64) {
        let _ = writeln!(self.0, "hotstuff_{name}{labels} {value}");
    }
}

/// A label's value, as the format wants it.
fn label(value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"");
    value.replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ValidatorAddress;

    #[test]
    fn peers_are_summed_up_and_labels_are_escaped() {
        let rejected = |peer, what: &str, count| (ValidatorAddress([peer; 32]), what.into(), count);
        let metrics = Metrics {
            votes: 7,
            rejected_by: vec![
                rejected(1, "vote: wrong signature", 2),
                rejected(2, "vote: wrong signature", 3),
                rejected(2, "bytes: a \"b\" \\ c\nd", 1),
            ],
            ..Metrics::default()
        };
        let text = text(&Info::default(), &metrics);
        for line in [
            "# HELP hotstuff_votes_total Votes cast.\n# TYPE hotstuff_votes_total counter\n\
             hotstuff_votes_total 7\n",
            "hotstuff_messages_rejected_total{kind=\"vote\",reason=\"wrong signature\"} 5\n",
            "{kind=\"bytes\",reason=\"a \\\"b\\\" \\\\ c\\nd\"} 1\n",
            "\nhotstuff_silenced 0\n",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
    }
}
