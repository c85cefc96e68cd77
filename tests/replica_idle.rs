//! Idle replicas sleep. A process of its own, so that nobody else's work is measured.

#[path = "replica/cluster.rs"]
mod cluster;

use std::time::Duration;

use cluster::Cluster;

const WINDOW: Duration = Duration::from_secs(4);

/// The CPU time of this process's threads so far, by the scheduler's own account.
fn cpu_time() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux");
    let nanos = tasks.filter_map(|task| {
        let account = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        account.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

#[test]
fn four_idle_replicas_use_less_than_a_fiftieth_of_a_core() {
    let cluster = Cluster::new(4).start_all();
    cluster.give_work(0, 5);
    cluster.await_count(5);
    cluster::eventually("the last certificate is everywhere", || {
        let views: Vec<_> = cluster
            .running()
            .map(|replica| replica.info().view)
            .collect();
        std::thread::sleep(Duration::from_millis(500));
        cluster
            .running()
            .map(|replica| replica.info().view)
            .eq(views)
    });
    let messages = || {
        cluster
            .running()
            .map(|replica| replica.metrics().messages_in)
            .sum::<u64>()
    };
    let (cpu_before, messages_before) = (cpu_time(), messages());
    std::thread::sleep(WINDOW); // the measurement itself
    let (cpu, messages) = (cpu_time() - cpu_before, messages() - messages_before);
    let share = cpu.as_secs_f64() / WINDOW.as_secs_f64();
    println!(
        "idle: {cpu:?} in {WINDOW:?}, {:.3} % of a core, {messages} messages",
        share * 100.0
    );
    assert!(share < 0.02, "{cpu:?} in {WINDOW:?}");
}
