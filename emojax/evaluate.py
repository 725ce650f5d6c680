"""Table I: many faces, each with the expression of every target, by both inverters.

    emojax evaluate
    emojax evaluate --bundle ffhq --sources celeba/ --samples 2000 --out table1/
    emojax evaluate --bundle ffhq --tfds celeb_a_hq/256 --samples 2000
    emojax evaluate --bundle ffhq --sources mine/ --targets eight/ --inverters psp

Sources are aligned faces: a folder, a prepared TFDS data set (read without TensorFlow), or faces
with ground truth that the bundle names, for which the true result of every transfer is known. An
interrupted run is resumed by the same command, and to a complete one further inverters and
normalisers can be added. Writes table.md, table.csv and table.json; the columns are explained below
the table.
"""

from emojax.evaluation.options import Options
from emojax.runtime.cli import cli


def main(options: Options) -> None:
    """Measure what is missing, then write the table."""
    options.check()
    import jax

    from emojax.evaluation import setup as evaluation
    from emojax.evaluation import table
    from emojax.runtime.progress import progress
    from emojax.store.block_store import BlockStore

    setup = evaluation.open_setup(options)
    about = setup.settings()
    store = BlockStore.create(options.out, about)
    job = setup.job(store)
    with progress("evaluating", job.steps, "blocks") as shown:
        for part in job.run():
            shown.describe(f"evaluating {part}")
            shown.advance()
    device = f"{jax.local_devices()[0].device_kind}, jax {jax.__version__}"
    about |= {"bundle": str(setup.bundle), "batch": job.batch, "device": device}
    found = setup.table(job, about)
    table.write(options.out, found, about)
    print(table.markdown(found))
    print(f"{options.out}/table.md, table.csv, table.json")


if __name__ == "__main__":
    cli(main)
