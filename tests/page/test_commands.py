"""Commands that the page shows are understood by the commands themselves."""

import shlex

import pytest

from emojax import edit
from emojax.page.recipes import Edit, Origin, Transfer
from emojax.runtime.errors import UserError
from emojax.runtime.flags import PipelineFlags
from tests.docs import blocks


def test_shown_commands_parse():
    flags, me = PipelineFlags(bundle="ffhq", inverter="hyperstyle"), Origin("me.jpg", face="2")
    for shown in (
        Edit(me, {"anger": -1.25, "fear": 3.0}, (4, 8)).command(flags),
        Edit(me, {}).command(flags),
        Edit(Origin(seed=7), {}).command(flags),
        Transfer(me, Origin("b.jpg"), 0.5, "subspace").command(flags),
    ):
        module, arguments = blocks.module_of(shlex.split(shown))
        blocks.parse(module, arguments)


def test_k_is_one_for_all_directions_or_one_for_each():
    assert edit.amounts_in("3", 2, 7) == [[3], [3]]
    assert edit.amounts_in("-1.25,3", 2, 7) == [[-1.25], [3]]
    assert edit.amounts_in("0..2,3", 2, 3) == [[0, 1, 2], [3, 3, 3]]
    assert edit.amounts_in("0..2", 1, 3) == [[0, 1, 2]]
    with pytest.raises(UserError, match="one for each of the 2 directions"):
        edit.amounts_in("1,2,3", 2, 7)
    with pytest.raises(UserError, match="wanted a number"):
        edit.amounts_in("1,", 2, 7)
