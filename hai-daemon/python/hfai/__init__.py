"""Lets training code that was written for hai-platform run under hai: `import hfai.client` finds hai's own protocol.

Another package of this name that is installed keeps its other modules.
"""

import pkgutil

__path__ = pkgutil.extend_path(__path__, __name__)
