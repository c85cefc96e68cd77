//! Settings by name.

use std::ffi::c_char;
use std::str::FromStr;

use super::config::{change, Settings};
use super::entry::{failure, Failure};
use super::*;
use crate::types::LeaderRule;

/// Sets an option by its name: for settings that newer libraries have and your header has not, and
/// for config files. [serial]
///
/// | name                        | value                             | default       |
/// |-----------------------------|-----------------------------------|---------------|
/// | "chain.id"                  | a number                          | (required)    |
/// | "chain.commit_rule"         | "three_chain", "two_chain"        | three_chain   |
/// | "chain.leader_rule"         | "round_robin", "active"           | round_robin   |
/// | "chain.max_idle_ms"         | 1 to 86400000                     | 5000          |
/// | "chain.max_block_bytes"     | 1 to 67108864                     | 1048576       |
/// | "storage.data_dir"          | a path                            | (required)    |
/// | "storage.create"            | "true", "false"                   | false         |
/// | "storage.map_bytes"         | 16777216 to 70368744177664        | 1099511627776 |
/// | "storage.durability"        | "synced", "process_crash"         | synced        |
/// | "pacemaker.base_ms"         | 1 to 86400000: the first time-out | 1000          |
/// | "pacemaker.max_ms"          | "pacemaker.base_ms" to 86400000   | 60000         |
/// | "vote_to"                   | "auto", "all", "next_leader"      | auto          |
/// | "sync.request_limit"        | 1 to 1024 blocks                  | 256           |
/// | "sync.response_timeout_ms"  | 1 to 86400000                     | 2000          |
/// | "sync.interval_ms"          | 1 to 86400000: asks without news  | 10000         |
/// | "limits.pending_blocks_max" | 8 to 1048576, that await commit   | 1024          |
/// | "limits.pending_bytes_max"  | 65536 to 1099511627776, of data   | 268435456     |
/// | "limits.views_ahead_max"    | 1 to 65536, whose votes are kept  | 32            |
///
/// What begins with "chain." is part of the genesis: the same on all replicas. By the leader rule
/// "active" those validators lead who have signed lately: a dead one costs no time-outs.
///
/// @param cfg    the config
/// @param name   one of these names
/// @param value  its value; numbers are decimal digits, times in milliseconds, sizes in bytes
/// @retval HOTSTUFF_E_NULL              an argument is NULL
/// @retval HOTSTUFF_E_UNSUPPORTED       this library knows no option of that name
/// @retval HOTSTUFF_E_INVALID_ARGUMENT  the option has no such value; nothing is changed
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_config_set_option(
    cfg: *mut hotstuff_config,
    name: *const c_char,
    value: *const c_char,
) -> hotstuff_status {
    // SAFETY: the header's rules: NULL, or a living config; the header's rules for strings.
    unsafe {
        change(cfg, |call, settings| {
            set(
                settings,
                call.text(name, "the option's name")?,
                call.text(value, "its value")?,
            )
        })
    }
}

fn set(settings: &mut Settings, name: &str, value: &str) -> Result<(), Failure> {
    match name {
        "chain.id" => settings.set_chain_id(number(name, value)?),
        "chain.commit_rule" => settings.set_commit_rule(one_of(
            name,
            value,
            &[
                ("three_chain", HOTSTUFF_COMMIT_RULE_THREE_CHAIN),
                ("two_chain", HOTSTUFF_COMMIT_RULE_TWO_CHAIN),
            ],
        )?),
        "chain.leader_rule" => {
            let rules = [
                ("round_robin", LeaderRule::RoundRobin),
                ("active", LeaderRule::Active),
            ];
            settings.set_leader_rule(one_of(name, value, &rules)?);
            Ok(())
        }
        "chain.max_idle_ms" => settings.set_max_idle_ms(number(name, value)?),
        "chain.max_block_bytes" => settings.set_max_block_bytes(number(name, value)?),
        "storage.data_dir" => settings.set_data_dir(value),
        "storage.create" => {
            settings.create = one_of(name, value, &[("true", true), ("false", false)])?;
            Ok(())
        }
        "storage.map_bytes" => settings.set_map_bytes(number(name, value)?),
        "storage.durability" => settings.set_durability(one_of(
            name,
            value,
            &[
                ("synced", HOTSTUFF_DURABILITY_SYNCED),
                ("process_crash", HOTSTUFF_DURABILITY_PROCESS_CRASH),
            ],
        )?),
        "pacemaker.base_ms" => settings.set_view_timeout_base_ms(number(name, value)?),
        "pacemaker.max_ms" => settings.set_view_timeout_max_ms(number(name, value)?),
        "vote_to" => settings.set_vote_to(one_of(
            name,
            value,
            &[
                ("auto", HOTSTUFF_VOTE_TO_AUTO),
                ("all", HOTSTUFF_VOTE_TO_ALL),
                ("next_leader", HOTSTUFF_VOTE_TO_NEXT_LEADER),
            ],
        )?),
        "sync.request_limit" => settings.set_sync_request_limit(number(name, value)?),
        "sync.response_timeout_ms" => settings.set_sync_response_timeout_ms(number(name, value)?),
        "sync.interval_ms" => settings.set_sync_interval_ms(number(name, value)?),
        "limits.pending_blocks_max" => settings.set_pending_blocks_max(number(name, value)?),
        "limits.pending_bytes_max" => settings.set_pending_bytes_max(number(name, value)?),
        "limits.views_ahead_max" => settings.set_views_ahead_max(number(name, value)?),
        // How the tests see what a bug of the library does. Not in what is shipped.
        #[cfg(debug_assertions)]
        "test.panic" => panic!("{value}"),
        _ => Err(failure(
            HOTSTUFF_E_UNSUPPORTED,
            format!("no option is named \"{name}\""),
        )),
    }
}

fn number<N: FromStr>(name: &str, value: &str) -> Result<N, Failure> {
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| value.parse().ok()).flatten().ok_or_else(|| {
        let text = format!("option \"{name}\" is \"{value}\"; expected a number in its range");
        failure(HOTSTUFF_E_INVALID_ARGUMENT, text)
    })
}

fn one_of<V: Copy>(name: &str, value: &str, choices: &[(&str, V)]) -> Result<V, Failure> {
    choices
        .iter()
        .find(|(word, _)| *word == value)
        .map(|(_, choice)| *choice)
        .ok_or_else(|| {
            let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
            let text = format!("option \"{name}\" is \"{value}\"; expected one of {words:?}");
            failure(HOTSTUFF_E_INVALID_ARGUMENT, text)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_option_is_set_by_its_default_and_refuses_rubbish() {
        let table = include_str!("config_option.rs");
        let rows = table
            .lines()
            .filter_map(|line| line.strip_prefix("/// | \""));
        let mut count = 0;
        for row in rows {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let name = cells[0].trim_end_matches('"');
            let default = match cells[2] {
                "(required)" => "7",
                default => default,
            };
            set(&mut Settings::default(), name, default)
                .unwrap_or_else(|e| panic!("{name}: {e:?}"));
            for rubbish in [
                "",
                "-1",
                "+1",
                " 1",
                "0x10",
                "no",
                "99999999999999999999999",
            ] {
                if name != "storage.data_dir" || rubbish.is_empty() {
                    let refused = set(&mut Settings::default(), name, rubbish).unwrap_err();
                    assert_eq!(
                        refused.status, HOTSTUFF_E_INVALID_ARGUMENT,
                        "{name} {rubbish}"
                    );
                }
            }
            count += 1;
        }
        assert_eq!(count, 18);
    }
}
