//! What somebody says of how a task has ended counts, whatever is seen of it.

use hai_core::model::*;

use crate::support::secs;
use crate::{devices, failed, failure, running, task};

fn conclude(lab: &mut crate::support::Lab, name: &str, succeeded: bool) -> bool {
    let task = lab.id(name);
    lab.tell(Fact::Concluded { task, succeeded })
}

#[test]
fn a_task_that_is_said_to_be_done_is_stopped_and_has_succeeded() {
    let mut lab = running(task("t1"));
    let t1 = lab.id("t1");
    let t2 = lab.submit(task("t2").after(&[t1]));
    assert!(conclude(&mut lab, "t1", true));
    assert!(!conclude(&mut lab, "t1", true), "twice is once");
    assert_eq!(lab.round(), ["stop t1"]);
    lab.restart();
    assert_eq!(lab.settle(), ["start t2"], "who waits for it to succeed goes on");
    assert_eq!(lab.outcome("t1"), Outcome::Succeeded);
    let run = lab.ended.values().find(|run| run.task == t1).expect("its run");
    assert_eq!(run.end, Some(RunEnd::Stopped));
    assert!(lab.engine.task(t2).is_some());
}

#[test]
fn a_task_that_is_said_to_have_failed_is_not_tried_again() {
    let mut lab = running(task("t1").retries(3, secs(10)));
    conclude(&mut lab, "t1", false);
    lab.settle();
    assert_eq!(failure(&lab, "t1"), "somebody stopped it as failed");
}

#[test]
fn the_last_word_counts_and_not_what_the_workers_do_meanwhile() {
    let mut lab = running(task("t1"));
    conclude(&mut lab, "t1", false);
    assert!(conclude(&mut lab, "t1", true));
    lab.round();
    lab.end_worker("t1", 0, failed());
    lab.settle();
    assert_eq!(lab.outcome("t1"), Outcome::Succeeded);

    let mut lab = running(task("t1"));
    conclude(&mut lab, "t1", false);
    lab.round();
    lab.finish("t1");
    lab.settle();
    assert_eq!(failure(&lab, "t1"), "somebody stopped it as failed");
}

#[test]
fn a_task_that_waits_is_over_at_once() {
    let mut lab = devices(0);
    for (name, succeeded) in [("t1", true), ("t2", false)] {
        lab.submit(task(name));
        lab.settle();
        conclude(&mut lab, name, succeeded);
        lab.settle();
    }
    assert_eq!(lab.outcome("t1"), Outcome::Succeeded);
    failure(&lab, "t2");
}

#[test]
fn each_run_keeps_the_number_that_it_reported() {
    let mut lab = running(task("t1").retries(2, secs(10)));
    lab.checkpoint("t1", 5);
    lab.checkpoint("t1", 7);
    lab.restart();
    lab.end_worker("t1", 0, failed());
    lab.pass(secs(10));
    lab.end_worker("t1", 0, failed());
    lab.pass(secs(20));
    lab.checkpoint("t1", 9);
    lab.finish("t1");
    lab.settle();
    let states: Vec<_> = lab.ended.values().map(|run| run.whole_life_state).collect();
    assert_eq!(states, [Some(7), None, Some(9)]);
}
