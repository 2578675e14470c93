"""The same without async, for scripts and for frameworks that work in threads: pip install clew."""

import os
from concurrent.futures import ThreadPoolExecutor

from clew_events.client.sync import connect

with connect(os.environ.get("NATS_URL", "nats://127.0.0.1:4222"), actor="shop") as clew:
    thread = clew.create_thread(metadata={"order": "1042"}).thread.id

    # One client, one connection, any number of threads.
    with ThreadPoolExecutor(4) as pool:
        for done in pool.map(lambda key: clew.patch_metadata(thread, set={key: "yes"}), ["paid", "packed", "sent"]):
            assert done.n > 1

    print(dict(sorted(clew.get_thread(thread).thread.metadata.items())))
    print([entry.commit.n for entry in clew.iter_history(thread)])
