//! `/schedules`: pipelines that are submitted by the clock.

use axum::extract::{Path, Query, State};
use axum::response::Redirect;
use maud::{Markup, html};
use ursa_proto::v1;

use super::Paging;
use crate::app::{App, ask};
use crate::error::PageError;
use crate::view::layout::{Nav, Refresh, View};
use crate::view::{parts, text};

const PAGE_SIZE: u32 = 50;
/// A submission that is refused makes no event.
const EVERY_MS: u32 = 10_000;

/// `GET /schedules`
pub(crate) async fn show(
    State(app): State<App>,
    Query(paging): Query<Paging>,
    view: View,
) -> Result<Markup, PageError> {
    let request = v1::ListSchedulesRequest { page: Some(paging.request(PAGE_SIZE)) };
    let answer = ask(app.client.schedules().list_schedules(request)).await?;
    let content = html! {
        h1 { "Schedules" }
        @if answer.schedules.is_empty() {
            (parts::empty("Nothing is submitted by the clock.",
                html! { "Make a schedule with " code { "ursa schedule put NAME --cron \"0 3 * * *\" --file FILE.yaml" } "." }))
        } @else { (table(&answer.schedules)) }
        (parts::more("/schedules", &[], &answer.next_page_token))
    };
    Ok(view.page("Schedules", Nav::Schedules, &Refresh::on("job.").every(EVERY_MS), content))
}

fn table(schedules: &[v1::Schedule]) -> Markup {
    html! { div.scroll { table.list {
        thead { tr { th { "Schedule" } th { "When" } th { "Submits" } th { "Next" } th { "Last" } th { "If missed" } th {} } }
        tbody { @for schedule in schedules { tr {
            td { b { (schedule.name) } }
            td { code { (schedule.cron) } p.quiet { (schedule.time_zone) } }
            td { (submits(schedule.pipeline.as_ref())) }
            td { @if schedule.paused { (parts::chip("paused")) } @else { (parts::due(schedule.next_at.as_ref())) } }
            td { (last(schedule)) }
            td { (schedule.missed) }
            td.act { (parts::pause_or_resume(&format!("/schedules/{}", parts::segment(&schedule.name)), schedule.paused)) }
        } } }
    } } }
}

fn submits(pipeline: Option<&v1::PipelineSpec>) -> Markup {
    let Some(pipeline) = pipeline else { return html! { span.none { "–" } } };
    let jobs: Vec<_> = pipeline.jobs.iter().map(|job| job.name.as_str()).collect();
    html! { (pipeline.name) @if !pipeline.project.is_empty() { " " span.quiet { "of " (pipeline.project) } }
    p.quiet { (text::cut(&jobs.join(", "), 120)) } }
}

fn last(schedule: &v1::Schedule) -> Markup {
    html! {
        (parts::when(schedule.last_at.as_ref()))
        @if !schedule.last_pipeline_id.is_empty() { " "
            a.mono href=(format!("/pipelines/{}", schedule.last_pipeline_id)) title=(schedule.last_pipeline_id) {
                (text::short_id(&schedule.last_pipeline_id)) } }
        @if !schedule.last_error.is_empty() { p.error { (text::cut(&schedule.last_error, 300)) } }
    }
}

/// `POST /schedules/{name}/pause`
pub(crate) async fn pause(app: State<App>, name: Path<String>) -> Result<Redirect, PageError> {
    steer(app, name, true).await
}

/// `POST /schedules/{name}/resume`
pub(crate) async fn resume(app: State<App>, name: Path<String>) -> Result<Redirect, PageError> {
    steer(app, name, false).await
}

async fn steer(State(app): State<App>, Path(name): Path<String>, paused: bool) -> Result<Redirect, PageError> {
    ask(app.client.schedules().pause_schedule(v1::PauseScheduleRequest { name, paused })).await?;
    Ok(Redirect::to("/schedules"))
}
