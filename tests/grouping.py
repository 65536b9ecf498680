"""Tests marked `xdist_group` stay in one process, also where xdist cannot see to it itself.

xdist 3.8 tells the groups to its scheduler by writing `@group` behind the private `_nodeid` of an
item. pytest 9.2 keeps the id elsewhere (`_id`), so the group is lost and `--dist loadgroup` spreads
the tests. Here the same is written where pytest keeps it now.
"""

from __future__ import annotations

import pytest


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not getattr(config.option, "loadgroup", False):
        return
    for item in items:
        groups = {str(mark.args[0]) for mark in item.iter_markers("xdist_group") if mark.args}
        suffix = f"@{'_'.join(sorted(groups))}"
        if groups and not item.nodeid.endswith(suffix):
            item._id = type(item.id).parse(item.nodeid + suffix)
