"""The calls that training code makes, under the name by which it imports them. See hai_task.

Where hai-platform's own client is installed too, its other modules and names stay what they are, so that its command works.
"""

import os as _os
import pkgutil as _pkgutil

__path__ = _pkgutil.extend_path(__path__, __name__)

for _place in __path__[1:]:
    _file = _os.path.join(_place, "__init__.py")
    if _os.path.isfile(_file):
        try:
            with open(_file, encoding="utf-8") as _source:
                exec(compile(_source.read(), _file, "exec"))
        except Exception as _error:  # training code must not fail for a client that is not set up
            print(f"hai: the installed hfai.client can not be used: {_error}", flush=True)
        break

from hai_task import (  # noqa: E402,F401
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
