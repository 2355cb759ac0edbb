//! A cluster of a test's own does what the tests of a store need of it.

#![cfg(all(feature = "postgres", unix))]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use annals_testing::postgres::Cluster;

const LIVES: &str = "CLUSTERS_CHILD";

/// Not a test: [`a_cluster_goes_with_a_process_that_is_killed`] starts this program again with
/// only this entry, which then starts a cluster and waits to be killed.
#[test]
fn child_process_entry() {
    if std::env::var_os(LIVES).is_none() {
        return;
    }
    let cluster = Cluster::create();
    println!("\ncluster {} {}", cluster.port(), cluster.data().display());
    loop {
        std::thread::park();
    }
}

#[test]
fn a_cluster_goes_with_a_process_that_is_killed() {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child_process_entry", "--exact", "--nocapture"])
        .env(LIVES, "yes")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let place = lines
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("cluster ").map(str::to_owned));
    let place = place.expect("the child has a cluster");
    let (port, data) = place.split_once(' ').unwrap();
    let port: u16 = port.parse().unwrap();
    let listens = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
    assert!(listens() && Path::new(data).exists());

    child.kill().unwrap();
    child.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while listens() || Path::new(data).exists() {
        assert!(Instant::now() < deadline, "a server was left behind");
        sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_was_committed_outlives_a_kill() {
    let mut cluster = Cluster::create();
    cluster.sql("CREATE TABLE kept (number int); INSERT INTO kept VALUES (1)");
    cluster.kill9();
    cluster.start();
    assert_eq!(cluster.sql("SELECT number FROM kept"), "1");
    cluster.restart();
    assert_eq!(cluster.sql("SELECT number FROM kept"), "1");
}

#[test]
fn a_backup_brings_back_what_was() {
    let mut cluster = Cluster::create();
    cluster.sql("CREATE TABLE kept (number int); INSERT INTO kept VALUES (1)");
    let backup = cluster.base_backup();
    cluster.sql("UPDATE kept SET number = 2");
    cluster.stop();
    cluster.restore(backup);
    cluster.start();
    assert_eq!(cluster.sql("SELECT number FROM kept"), "1");
}

#[test]
fn a_standby_that_was_cut_off_is_behind_when_it_is_promoted() {
    let mut cluster = Cluster::create();
    cluster.sql("CREATE TABLE kept (number int); INSERT INTO kept VALUES (1)");
    let standby = cluster.standby();
    standby.cut_off();
    cluster.sql("UPDATE kept SET number = 2");
    cluster.kill9();
    assert_eq!(standby.sql("SELECT pg_is_in_recovery()"), "t");
    standby.promote();
    standby.sql("INSERT INTO kept VALUES (3)");
    assert_eq!(standby.sql("SELECT number FROM kept"), "1\n3");
}

#[test]
fn a_dump_moves_to_another_cluster() {
    let cluster = Cluster::create();
    cluster.sql("CREATE TABLE kept (number int); INSERT INTO kept VALUES (1)");
    let dump = cluster.dump();
    drop(cluster);
    let other = Cluster::create();
    other.load(&dump);
    assert_eq!(other.sql("SELECT number FROM kept"), "1");
}
