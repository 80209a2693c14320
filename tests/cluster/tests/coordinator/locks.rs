//! Who may wait for whom in the database.

use ursa_proto::v1;

use crate::fixture::{Fixture, scrape};

/// Holds the task as a claim does, and lock 1 to say so, until somebody waits for it; then looks at the job as the foreign
/// key of a claim's event does.
const CLAIM: &str = "
    select from tasks for update;
    select pg_advisory_xact_lock(1);
    do $$ begin
        for i in 1..2000 loop
            if exists (select from pg_locks where not granted) then return; end if;
            perform pg_sleep(0.01);
        end loop;
        raise exception 'nobody came to wait for the task';
    end $$;
    set local lock_timeout = '5s';
    select from jobs for key share;";

/// Waits until [`CLAIM`] holds the task.
const CLAIMED: &str = "
    do $$ begin
        for i in 1..2000 loop
            if exists (select from pg_locks where locktype = 'advisory' and objid = 1) then return; end if;
            perform pg_sleep(0.01);
        end loop;
        raise exception 'the task was not claimed';
    end $$;";

#[tokio::test]
async fn a_claim_and_a_cancellation_do_not_wait_for_each_other() {
    let fixture = Fixture::start().await;
    let ids = fixture.submit(vec![scrape(2)]).await;
    fixture.job_in(&ids[0], "running").await;
    let claim = fixture.sql(CLAIM);
    let cancel = async {
        fixture.sql(CLAIMED).await;
        fixture.client().jobs().cancel_job(v1::CancelJobRequest { id: ids[0].clone() }).await
    };
    let ((), cancelled) = tokio::join!(claim, cancel);
    assert_eq!(cancelled.unwrap().into_inner().state, "cancelled");
    fixture.job_in(&ids[0], "cancelled").await;
}
