//! What is opened, what is created, and what is refused with which words.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use hotstuff::algorithm::{Persist, Write, EPOCHS_KEPT};
use hotstuff::block_tree::{BlockTree, OpenOptions, StorageError};
use hotstuff::types::*;

use crate::chain::*;
use crate::{child, raw};

fn refusal(options: &OpenOptions) -> StorageError {
    match BlockTree::open(options, &genesis()) {
        Ok(_) => panic!("it was opened"),
        Err(error) => {
            let text = error.to_string();
            println!("{text}\n");
            assert!(
                text.ends_with(|last: char| last.is_alphanumeric()),
                "{text}"
            );
            error
        }
    }
}

macro_rules! assert_refused {
    ($options:expr, $pattern:pat, $($words:expr),+) => {
        let error = refusal($options);
        assert!(matches!(error, $pattern), "{error:?}");
        let text = error.to_string();
        $(assert!(text.contains($words), "{text:?} does not say {:?}", $words);)+
    };
}

/// Options that do not create.
fn existing(directory: &Path) -> OpenOptions {
    OpenOptions {
        create: false,
        ..options(directory)
    }
}

/// A tree with a block; its data file.
fn written(directory: &Path) -> std::path::PathBuf {
    let (mut tree, _) = open(directory);
    let one = Made::first(1, &[1; 100_000], vec![set("a", "1")]);
    tree.persist(&[one.insert(), Write::CastVote(vote(one.hash, 1))])
        .unwrap();
    directory.join("data.mdb")
}

#[test]
fn a_missing_directory_is_made_only_on_request() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("replica");
    let name = path.to_str().unwrap();
    assert_refused!(
        &existing(&path),
        StorageError::NotFound { .. },
        name,
        "is mounted"
    );
    assert!(!path.exists());
    open(&path);
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o700
    );
    for file in fs::read_dir(&path).unwrap() {
        let file = file.unwrap();
        assert_eq!(
            file.metadata().unwrap().permissions().mode() & 0o777,
            0o600,
            "{file:?}"
        );
    }
    BlockTree::open(&existing(&path), &genesis()).unwrap();
    // A missing parent is more likely an unmounted disk.
    let deep = parent.path().join("disk/replica");
    let error = refusal(&options(&deep));
    assert!(
        error.to_string().contains(deep.to_str().unwrap()),
        "{error}"
    );
    assert!(!parent.path().join("disk").exists());
}

#[test]
fn an_empty_directory_is_new_and_one_with_files_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    assert_refused!(
        &existing(path),
        StorageError::NotFound { .. },
        "ask for it to be created"
    );
    assert_eq!(
        fs::read_dir(path).unwrap().count(),
        0,
        "a refusal leaves no trace"
    );
    fs::write(path.join("letter.txt"), "dear").unwrap();
    for options in [options(path), existing(path)] {
        assert_refused!(
            &options,
            StorageError::NotEmpty { .. },
            "letter.txt",
            "empty directory"
        );
    }
    fs::remove_file(path.join("letter.txt")).unwrap();
    fs::create_dir(path.join("lost+found")).unwrap();
    open(path);
    fs::write(path.join("letter.txt"), "dear").unwrap();
    open(path); // beside a block tree it harms nothing
}

#[test]
fn a_file_is_no_directory() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    assert_refused!(
        &options(&file),
        StorageError::NotADirectory { .. },
        file.to_str().unwrap()
    );
    let below = file.join("below");
    assert_refused!(
        &options(&below),
        StorageError::NotADirectory { .. },
        "is not a directory"
    );
}

#[test]
fn a_directory_of_somebody_else_is_refused() {
    if let Some(path) = child::directory() {
        // SAFETY: plain system calls; root gives up its powers, anybody else has none to give up.
        unsafe {
            libc::setgid(65_534);
            libc::setuid(65_534);
        }
        assert_refused!(
            &options(&path),
            StorageError::PermissionDenied { .. },
            "user that runs"
        );
        child::say("refused");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("replica");
    open(&path);
    // Root is let in everywhere, so the child changes its user; anybody else shuts themselves out.
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o500)).unwrap();
    fs::set_permissions(
        path.join("hotstuff.lock"),
        fs::Permissions::from_mode(0o400),
    )
    .unwrap();
    let binary = std::env::current_exe().unwrap();
    let copy = directory.path().join("binary"); // where the other user can run it
    fs::copy(binary, &copy).unwrap();
    let test = "opening::a_directory_of_somebody_else_is_refused";
    let mut command = std::process::Command::new(copy);
    command
        .args(["--exact", test, "--nocapture"])
        .env("STORAGE_TEST_DIRECTORY", &path);
    assert_eq!(child::answer(&command.output().unwrap()), ["refused"]);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn a_second_opener_in_this_process_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("replica");
    let (tree, _) = open(&path);
    assert_refused!(
        &options(&path),
        StorageError::Locked { .. },
        "in this process"
    );
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert_refused!(
        &options(&link),
        StorageError::Locked { .. },
        "in this process"
    );
    let reader = tree.reader();
    drop(tree);
    assert_refused!(
        &options(&path),
        StorageError::Locked { .. },
        "Stop that replica"
    );
    drop(reader);
    open(&path);
}

#[test]
fn a_second_opener_in_another_process_is_refused() {
    if let Some(path) = child::directory() {
        return match BlockTree::open(&options(&path), &genesis()) {
            Ok(_) => child::say("opened"),
            Err(error) => child::say(error),
        };
    }
    let test = "opening::a_second_opener_in_another_process_is_refused";
    let directory = tempfile::tempdir().unwrap();
    let (tree, _) = open(directory.path());
    let answer = child::run(test, directory.path());
    let expected = format!("is in use by process {}. Stop", std::process::id());
    assert!(answer[0].contains(&expected), "{answer:?}");
    drop(tree);
    assert_eq!(child::run(test, directory.path()), ["opened"]);
}

#[test]
fn another_genesis_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    open(directory.path());
    let other = Genesis {
        chain_id: ChainId(8),
        ..genesis()
    };
    let error = BlockTree::open(&options(directory.path()), &other).unwrap_err();
    let text = error.to_string();
    assert!(
        matches!(error, StorageError::GenesisMismatch { .. }),
        "{error:?}"
    );
    assert!(text.contains(&genesis().hash().to_string()), "{text}");
    assert!(text.contains(&other.hash().to_string()), "{text}");
    open(directory.path());
}

#[test]
fn what_is_not_a_block_tree_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let data = path.join("data.mdb");
    for bytes in [vec![1; 5], vec![b'x'; 10_000], vec![0; 100_000]] {
        fs::write(&data, &bytes).unwrap();
        assert_refused!(
            &options(path),
            StorageError::Foreign { .. },
            "data.mdb",
            "is not a block"
        );
        assert_eq!(fs::read(&data).unwrap(), bytes, "it is left as it was");
    }
    fs::remove_file(&data).unwrap();
    raw::put(path, &[("users", Some(b"alice"))]);
    assert_refused!(
        &options(path),
        StorageError::Foreign { .. },
        "\"users\"",
        "or an empty one"
    );
}

#[test]
fn another_format_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    open(directory.path());
    let whole = raw::get(directory.path(), "meta").unwrap();
    let mut meta = whole[32..].to_vec();
    assert_eq!(meta[0], 1);
    meta[0] = 2;
    raw::put(
        directory.path(),
        &[("meta", Some(&raw::seal("meta", &meta)))],
    );
    let options = options(directory.path());
    assert_refused!(
        &options,
        StorageError::FormatVersion { found: 2, .. },
        "format 2",
        "format 1"
    );
}

#[test]
fn a_cut_off_data_file_is_refused_before_it_is_mapped() {
    let directory = tempfile::tempdir().unwrap();
    let data = written(directory.path());
    let whole = fs::read(&data).unwrap();
    let last_page = u64::from_ne_bytes(whole[136..144].try_into().unwrap());
    let other_last_page = u64::from_ne_bytes(whole[4_232..4_240].try_into().unwrap());
    let used = (last_page.max(other_last_page) as usize + 1) * 4_096;
    assert!(used <= whole.len());
    let options = options(directory.path());
    let cuts = (4_096..used)
        .step_by(4_096)
        .chain([used - 1, 8_191, 4_097, 200, 100, 1, 0]);
    for length in cuts {
        fs::write(&data, &whole[..length]).unwrap();
        assert_refused!(
            &options,
            StorageError::Damaged { .. },
            "data.mdb",
            "start with a new key"
        );
    }
    fs::write(&data, &whole[..used]).unwrap();
    open(directory.path());
    fs::remove_file(&data).unwrap();
    assert_refused!(
        &options,
        StorageError::Damaged { .. },
        "data.mdb is missing, and this replica"
    );
}

#[test]
fn a_damaged_meta_page_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let data = written(directory.path());
    let whole = fs::read(&data).unwrap();
    for at in [16, 20, 40, 4_112, 4_136] {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x55;
        fs::write(&data, damaged).unwrap();
        assert_refused!(
            &options(directory.path()),
            StorageError::Damaged { .. },
            "data.mdb"
        );
    }
    fs::write(&data, whole).unwrap();
    open(directory.path());
}

#[test]
fn a_record_that_cannot_be_read_is_named() {
    let directory = tempfile::tempdir().unwrap();
    written(directory.path());
    let path = directory.path();
    for key in ["meta", "highest_qc", "committed"] {
        let whole = raw::get(path, key).unwrap();
        let mut flipped = whole.clone();
        flipped[33] ^= 1;
        let sealed_garbage = raw::seal(key, &[0xff; 40]);
        for damage in [
            None,
            Some(&flipped[..]),
            Some(&whole[..20]),
            Some(&sealed_garbage[..]),
        ] {
            raw::put(path, &[(key, damage)]);
            assert_refused!(&options(path), StorageError::Corrupt { .. }, key);
            raw::put(path, &[(key, Some(&whole))]);
        }
    }
    for (table, name) in [("blocks", "height 1"), ("sets", "epoch 0")] {
        let (key, whole) = raw::dump(path, Some(table)).pop_first().unwrap();
        for damage in [
            None,
            Some(&whole[..3]),
            Some(&whole[..whole.len() - 1]),
            Some(b""),
        ] {
            if table == "blocks" && damage.is_none() {
                continue; // a pending block that is not there was never there
            }
            raw::put_into(path, Some(table), [(&*key, damage)]);
            assert_refused!(&options(path), StorageError::Corrupt { .. }, name);
        }
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 4;
            raw::put_into(path, Some(table), [(&*key, Some(&flipped[..]))]);
            let error = BlockTree::open(&options(path), &genesis()).unwrap_err();
            assert!(
                matches!(error, StorageError::Corrupt { .. }),
                "byte {at}: {error:?}"
            );
        }
        raw::put_into(path, Some(table), [(&*key, Some(&whole[..]))]);
    }
    open(path);
}

#[test]
fn an_epoch_that_is_missing_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let (mut tree, _) = open(path);
    let mut set = genesis().validator_set;
    let mut block = Made::first(1, b"", vec![]).updating(&[(1, 2)]);
    let mut records = Vec::new();
    for epoch in 1..=EPOCHS_KEPT as u64 + 2 {
        let record = block.epoch(&set);
        assert_eq!(record.epoch, Epoch(epoch));
        let begin = Write::ChangeEpoch(record.clone());
        tree.persist(&[block.insert(), block.commit(), begin])
            .unwrap();
        block = block.child(1, b"", vec![]).updating(&[(1, epoch)]);
        set = record.validator_set.clone();
        records.push(record);
    }
    drop(tree);
    let last = raw::dump(path, Some("sets")).len() - 1;
    for missing in [0, 1, last - 1, last] {
        let (key, whole) = raw::dump(path, Some("sets"))
            .into_iter()
            .nth(missing)
            .unwrap();
        // If an older one is missing, the count tells: the last one is not where it should be.
        let named = if missing == last - 1 { missing } else { last };
        raw::put_into(path, Some("sets"), [(&*key, None)]);
        assert_refused!(
            &options(path),
            StorageError::Corrupt { .. },
            &format!("epoch {named}")
        );
        raw::put_into(path, Some("sets"), [(&*key, Some(&whole[..]))]);
    }
    assert_eq!(open(path).1.epochs, records[last - EPOCHS_KEPT..]);
}

#[test]
fn an_interrupted_creation_is_taken_up_again() {
    let whole = tempfile::tempdir().unwrap();
    let data = written(whole.path());
    let first_pages = fs::read(data).unwrap()[..4_096].to_vec();
    let mut unused = first_pages;
    // The transaction that LMDB begins with.
    unused[144..152].fill(0);
    // Found by tests/crash: the power may fail when the second of them is on disk, and not the
    // first.
    let second = [vec![0; 4_096], unused.clone()].concat();
    let both = [unused.clone(), unused.clone()].concat();
    let cases: [&dyn Fn(&Path); 7] = [
        &|path| fs::write(path.join("data.mdb"), "").unwrap(),
        &|path| fs::write(path.join("data.mdb"), vec![0; 8_192]).unwrap(),
        &|path| fs::write(path.join("data.mdb"), &unused).unwrap(),
        &|path| fs::write(path.join("data.mdb"), &second).unwrap(),
        &|path| fs::write(path.join("data.mdb"), &both).unwrap(),
        &|path| {
            open(path); // all but the last file
            fs::rename(path.join("hotstuff.chain"), path.join("hotstuff.chain.new")).unwrap();
        },
        &|path| {
            open(path); // all but the last transaction
            fs::remove_file(path.join("hotstuff.chain")).unwrap();
            let keys = ["meta", "voting.0", "voting.1", "highest_qc", "committed"];
            raw::put(path, &keys.map(|key| (key, None)));
        },
    ];
    for interrupt in cases {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("replica");
        fs::create_dir(&path).unwrap();
        interrupt(&path);
        assert_refused!(
            &existing(&path),
            StorageError::NotFound { .. },
            "no block tree"
        );
        let (tree, durable) = open(&path);
        assert_eq!(durable.committed.hash, genesis_hash());
        drop(tree);
        BlockTree::open(&existing(&path), &genesis()).unwrap();
    }
}

#[test]
fn a_map_smaller_than_the_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (mut tree, _) = open(directory.path());
    tree.persist(&[Made::first(1, &vec![1; 3 << 20], vec![]).insert()])
        .unwrap();
    drop(tree);
    for map_bytes in [0, 1, 4_096, 1 << 20, 3 << 20] {
        let options = OpenOptions {
            map_bytes,
            ..options(directory.path())
        };
        assert_refused!(
            &options,
            StorageError::MapTooSmall { .. },
            "storage.map_bytes",
            "address"
        );
    }
    let options = OpenOptions {
        map_bytes: 4 << 20,
        ..options(directory.path())
    };
    BlockTree::open(&options, &genesis()).unwrap();
}

#[test]
fn a_map_for_which_there_is_no_room_is_refused() {
    if let Some(path) = child::directory() {
        let limit = libc::rlimit {
            rlim_cur: 4 << 30,
            rlim_max: 4 << 30,
        };
        // SAFETY: setrlimit reads the struct.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) }, 0);
        let default = OpenOptions {
            create: true,
            ..OpenOptions::new(&path)
        };
        assert_refused!(
            &default,
            StorageError::MapUnavailable { .. },
            "ulimit -v",
            "map_bytes"
        );
        open(&path);
        return child::say("opened with a smaller map");
    }
    let directory = tempfile::tempdir().unwrap();
    let test = "opening::a_map_for_which_there_is_no_room_is_refused";
    assert_eq!(
        child::run(test, directory.path()),
        ["opened with a smaller map"]
    );
    let too_large = OpenOptions {
        map_bytes: u64::MAX,
        ..options(directory.path())
    };
    assert_refused!(
        &too_large,
        StorageError::MapUnavailable { .. },
        "storage.map_bytes"
    );
    // Without such a limit the default is fine.
    let default = OpenOptions {
        create: true,
        ..OpenOptions::new(directory.path())
    };
    BlockTree::open(&default, &genesis()).unwrap();
}

#[test]
fn a_genesis_that_cannot_be_stored_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut genesis = genesis();
    genesis
        .app_state
        .insert(vec![b'k'; 501].into(), vec![].into());
    let error = BlockTree::open(&options(directory.path()), &genesis).unwrap_err();
    assert!(error.to_string().contains("501 bytes"), "{error}");
}
