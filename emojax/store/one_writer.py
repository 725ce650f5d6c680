"""Orbax's checkpointer in one of several processes, without waiting for the others."""

import jax
import orbax.checkpoint as ocp


def checkpointer() -> ocp.StandardCheckpointer:
    """Return a checkpointer of this process; Orbax by default expects all to write together."""
    if jax.process_count() == 1:
        return ocp.StandardCheckpointer()
    this = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(
        primary_host=this, active_processes={this}, barrier_sync_key_prefix=f"process{this}"
    )
    return ocp.StandardCheckpointer(multiprocessing_options=alone)
