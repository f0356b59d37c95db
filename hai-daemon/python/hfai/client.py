"""The calls that training code makes, under the name by which it imports them. See hai_task."""

from hai_task import (  # noqa: F401
    disable_warn,
    get_whole_life_state,
    go_suspend,
    receive_suspend_command,
    set_priority,
    set_watchdog_time,
    set_whole_life_state,
    the_task,
)

# The signal to leave must find somebody who listens, however late the program first asks.
the_task()
