"""hai's suspend protocol for Python programs. Copy this file next to your code; it needs the standard library only.

    import hai_task

    task = hai_task.Task()
    ...restore your last checkpoint...
    while there is work:
        ...do a step...
        if task.must_leave() or it is time for a checkpoint:
            ...save a checkpoint...
            task.report(step)           # once it is safe on the disk
        if task.must_leave():
            sys.exit(0)
    task.declare_done()

Without hai nothing of this does anything, so a program that uses it still runs by hand.

Programs written for hai-platform find its calls here as functions (receive_suspend_command, go_suspend, ...), and under hai
also as `hfai.client`.
"""

import http.client
import json
import os
import signal
import sys
import threading
import time
import urllib.request


class Task:
    """This worker of the task, as hai sees it. Make one of it, in the main thread, before the work begins."""

    def __init__(self):
        #: The number that the task's last run reported; 0 in the first run.
        self.whole_life_state = int(os.environ.get("HAI_WHOLE_LIFE_STATE", "0"))
        #: The task's number, the same in all its runs; None without hai.
        self.id = os.environ.get("HAI_TASK_ID")
        self.rank = int(os.environ.get("RANK", "0"))
        self.world_size = int(os.environ.get("WORLD_SIZE", "1"))
        self._suspend_file = os.environ.get("HAI_SUSPEND_FILE")
        self._answer_file = os.environ.get("HAI_ANSWER_FILE")
        self._state_file = os.environ.get("HAI_STATE_FILE")
        self._done_file = os.environ.get("HAI_DONE_FILE")
        # Where workers share no files with the daemon, they speak HTTP.
        self._token = os.environ.get("HAI_WORKER_TOKEN")
        self._server = os.environ.get("HAI_SERVER") if self._token else None
        self._told = False
        try:
            signal.signal(signal.SIGTERM, self._on_signal)
        except ValueError:
            # Not in the main thread: then the file or the server says it.
            pass
        if self._server and not self._suspend_file:
            threading.Thread(target=self._listen, daemon=True).start()

    def must_leave(self):
        """Whether the worker must save its work and exit. Ask often; it costs one look at a file, or at nothing."""
        if not self._told and self._suspend_file and os.path.exists(self._suspend_file):
            self._hear()
        return self._told

    def report(self, whole_life_state):
        """Tells hai that all work until now is saved, and gives the next run a number. Call it after the save.

        All workers of a run share one number, so only rank 0 reports.
        """
        if self.rank == 0:
            self._remember(int(whole_life_state))

    def give_way(self):
        """Asks hai to suspend the task, unless it was told to leave already. Its workers are then told."""
        if not self.must_leave() and self._server:
            self._ask_until_answered("POST", "yield")

    def set_priority(self, priority):
        """Changes how urgent the task is, to a level's name or number."""
        if self._server:
            self._ask_until_answered("PUT", "priority", {"priority": _level(priority)})

    def declare_done(self):
        """Says that the whole task is complete: it is not run again, even if the suspend signal came meanwhile.

        Exit soon after. One worker says it for all of them, and those that still run are stopped.
        """
        if self._done_file:
            _touch(self._done_file)
        elif self._server:
            self._ask_until_answered("POST", "done")

    def _remember(self, whole_life_state):
        """Reports a number, whichever rank this is."""
        if self._state_file:
            write_atomically(self._state_file, str(whole_life_state))
        elif self._server:
            self._ask_until_answered("PUT", "state", {"whole_life_state": whole_life_state})

    def _on_signal(self, _number, _frame):
        self._hear()

    def _hear(self):
        # Answering at once gains the second part of the grace.
        if self._told:
            return
        self._told = True
        if self._answer_file:
            _touch(self._answer_file)
        elif self._server:
            # Not from within a signal handler, which must not wait for the network. For as long as the worker lives.
            forever = {"patience": float("inf")}
            threading.Thread(target=self._ask_until_answered, args=("POST", "heard"), kwargs=forever, daemon=True).start()

    def _listen(self):
        while not self._told:
            asked_at = time.monotonic()
            try:
                if self._ask("GET", "leave?wait=20")["leave"]:
                    self._hear()
            except (OSError, ValueError, KeyError, http.client.HTTPException):
                # The daemon is away, or starts anew; SIGTERM comes without it.
                pass
            if time.monotonic() < asked_at + 1:
                time.sleep(1)

    def _ask_until_answered(self, method, what, body=None, patience=20):
        """Asks for up to 20 seconds; a report that can not be delivered is one checkpoint lost, not the work."""
        give_up_at = time.monotonic() + patience
        while True:
            try:
                return self._ask(method, what, body)
            except (OSError, ValueError, http.client.HTTPException) as error:
                if getattr(error, "code", 500) < 500 or time.monotonic() > give_up_at:
                    print(f"hai_task: {what} was not taken: {error}", flush=True)
                    return None
                time.sleep(0.2)

    def _ask(self, method, what, body=None):
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        url = f"{self._server.rstrip('/')}/v1/worker/{what}"
        request = urllib.request.Request(url, data=data, method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else None


# The calls of hai-platform's training code.

#: How levels are called; hai-platform knows them by number.
LEVELS = {
    50: "EXTREME_HIGH", 40: "VERY_HIGH", 30: "HIGH", 20: "ABOVE_NORMAL", 10: "NORMAL", 8: "UNDER_NORMAL", 5: "BELOW_NORMAL", 0: "LOW", -1: "AUTO",
}

_task = None


def the_task():
    """This worker's one Task, made when it is first asked for."""
    global _task
    if _task is None:
        _task = Task()
        # hai-platform's client plays a suspension by itself after so many seconds.
        seconds = os.environ.get("SIMULATE_SUSPEND") if os.environ.get("HFAI_SIMULATE") == "1" else None
        if seconds and float(seconds) > 0:
            timer = threading.Timer(float(seconds), _task._hear)
            timer.daemon = True
            timer.start()
    return _task


def receive_suspend_command():
    """Whether the task must save its work and call go_suspend. Asking counts as having heard it."""
    return the_task().must_leave()


def go_suspend():
    """Gives the machine back, and does not return: what was saved is found by the task's next run."""
    task = the_task()
    if task.id is None and not task.must_leave():
        # By hand there is nobody to come back for.
        return
    task.give_way()
    # Leaving before hai has said so would look like the end of the work.
    while not task.must_leave():
        time.sleep(0.05)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def get_whole_life_state():
    """The number that was set last, in this run or in one before; 0 if none was."""
    return the_task().whole_life_state


def set_whole_life_state(state):
    """Keeps a number for the next run. Call it after the save that it stands for."""
    task = the_task()
    task.whole_life_state = int(state)
    task._remember(task.whole_life_state)


def set_priority(priority):
    """Changes how urgent the task is."""
    the_task().set_priority(priority)


def set_watchdog_time(_seconds):
    """Does nothing: hai ends no task for being silent."""


def disable_warn():
    """Does nothing: hai sends no warnings."""


def _level(priority):
    if isinstance(priority, str) and not priority.lstrip("-").isdigit():
        return priority
    return LEVELS.get(int(priority), str(priority))


def write_atomically(path, text):
    """Writes a file so that whoever reads it, and whatever happens, finds all of the old or all of the new."""
    part = f"{path}.{os.getpid()}.part"
    with open(part, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def _touch(path):
    if path:
        with open(path, "a", encoding="utf-8"):
            pass
