//! A validator that lies: to each proposal it votes twice, for the block and for another one, and
//! tells everybody both. For the demo, which shows that the others go on, and have the evidence.
//!
//! ```text
//! equivocator KEY_FILE GENESIS_HASH LISTEN ADDRESS@HOST:PORT...
//! ```
//!
//! It follows no chain and knows no rules: what it signs, it copies from the leader's vote.

use std::time::Duration;

use hotstuff::messages::{Message, ProgressMessage, Vote};
use hotstuff::network::NetworkProvider;
use hotstuff::transport::{TcpConfig, TcpNetwork};
use hotstuff::types::{codec, GenesisHash, KeyPair, Statement, ValidatorAddress, VoteStatement};

/// No message of any chain is longer.
const MESSAGE_BYTES_MAX: usize = 128 << 20;

fn main() {
    if let Err(why) = run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        eprintln!("equivocator: {why}");
        std::process::exit(1);
    }
}

type Failure = Box<dyn std::error::Error>;

fn run(arguments: &[String]) -> Result<(), Failure> {
    let [key_file, genesis, listen, peers @ ..] = arguments else {
        return Err("KEY_FILE GENESIS_HASH LISTEN ADDRESS@HOST:PORT...".into());
    };
    let key = KeyPair::from_pkcs8(&std::fs::read(key_file)?)?;
    let genesis = GenesisHash(from_hex(genesis)?);
    let peers: Vec<_> = peers
        .iter()
        .map(|peer| parse(peer))
        .collect::<Result<_, _>>()?;
    let network = TcpNetwork::open(config(listen, &peers), key.duplicate())?;
    peers.iter().for_each(|(peer, _)| network.connect(*peer));
    println!("equivocates as {}", key.address());
    let mut last = None;
    loop {
        let Some((_, bytes)) = network.receive(Duration::from_secs(1)) else {
            continue;
        };
        let Ok(Message::Progress(ProgressMessage::Propose(propose))) =
            codec::decode(&bytes, MESSAGE_BYTES_MAX)
        else {
            continue;
        };
        let statement = propose.vote.statement;
        if last < Some(statement.rank()) {
            last = Some(statement.rank());
            for statement in [statement, contradiction(statement)] {
                network.broadcast(&vote(&key, &genesis, statement));
            }
        }
    }
}

/// The same vote for a block that nobody has proposed.
fn contradiction(mut statement: VoteStatement) -> VoteStatement {
    statement.block_hash.0[0] ^= 1;
    statement
}

fn vote(key: &KeyPair, genesis: &GenesisHash, statement: VoteStatement) -> Vec<u8> {
    let signature = key.sign(&Statement::Vote(statement).digest(genesis));
    let vote = Vote {
        statement,
        voter: key.address(),
        signature,
    };
    codec::encode(&Message::Progress(ProgressMessage::Vote(vote)))
}

fn config(listen: &str, peers: &[(ValidatorAddress, String)]) -> TcpConfig {
    TcpConfig {
        listen: Some(listen.to_owned()),
        peers: peers.to_vec(),
        ..TcpConfig::default()
    }
}

fn parse(peer: &str) -> Result<(ValidatorAddress, String), Failure> {
    let (address, host) = peer
        .split_once('@')
        .ok_or_else(|| format!("{peer}: expected ADDRESS@HOST:PORT"))?;
    Ok((ValidatorAddress(from_hex(address)?), host.to_owned()))
}

fn from_hex(text: &str) -> Result<[u8; 32], Failure> {
    let wrong = || format!("{text}: expected 64 hexadecimal digits");
    if text.len() != 64 || !text.is_ascii() {
        return Err(wrong().into());
    }
    let mut bytes = [0; 32];
    for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| wrong())?;
    }
    Ok(bytes)
}
