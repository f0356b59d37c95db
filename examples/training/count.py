#!/usr/bin/env python3
"""Counts to a number and adds up on the way, as a stand-in for a training: slow, and worth keeping when interrupted.

    hai submit -d 1 -- python3 examples/training/count.py --to 200 --checkpoints /tmp/count

When hai suspends it, it saves what it has and leaves; its next run goes on from there. Standard library only.
"""

import argparse
import json
import os
import sys
import time

import hai_task


def main():
    options = parse_arguments()
    task = hai_task.Task()
    path = checkpoint_path(options.checkpoints, task)
    count, total = load(path, task)
    if count:
        print(f"resumed at {count} (told: {task.whole_life_state})", flush=True)
    while count < options.to:
        time.sleep(options.pause)
        count += 1
        total += count
        print(f"count {count}", flush=True)
        if task.must_leave() or count % options.every == 0:
            # First the checkpoint, then the report: a report without its checkpoint would be a lie.
            save(path, count, total)
            task.report(count)
        if task.must_leave() and count < options.to:
            print(f"suspended at {count}", flush=True)
            return
    save(path, count, total)
    task.report(count)
    print(f"counted to {count}, the sum is {total}", flush=True)
    if task.world_size == 1:
        task.declare_done()


def parse_arguments():
    parser = argparse.ArgumentParser(description="Counts to a number, with checkpoints.")
    parser.add_argument("--to", type=int, default=200, help="where to end (default: 200)")
    parser.add_argument("--checkpoints", required=True, help="a directory that all runs of the task can reach")
    parser.add_argument("--every", type=int, default=10, help="steps between two checkpoints (default: 10)")
    parser.add_argument("--pause", type=float, default=0.05, help="seconds that a step takes (default: 0.05)")
    options = parser.parse_args()
    if options.every < 1 or options.pause < 0:
        parser.error("--every must be at least 1, --pause at least 0")
    return options


def checkpoint_path(directory, task):
    """A file of this task and rank alone, the same in all its runs."""
    os.makedirs(directory, exist_ok=True)
    return os.path.join(directory, f"count-{task.id or 'alone'}-{task.rank}.json")


def load(path, task):
    if task.id and not task.whole_life_state:
        # The task's first run, or it never reported: what lies there, if anything, is another's.
        return 0, 0
    try:
        with open(path, encoding="utf-8") as file:
            saved = json.load(file)
    except FileNotFoundError:
        return 0, 0
    return saved["count"], saved["total"]


def save(path, count, total):
    hai_task.write_atomically(path, json.dumps({"count": count, "total": total}))


if __name__ == "__main__":
    sys.exit(main())
