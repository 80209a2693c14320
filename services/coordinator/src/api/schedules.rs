//! `ScheduleService`.

use prost::Message;
use tonic::{Request, Response, Status};
use ursa_domain::pipeline::{self, PipelineSpec};
use ursa_domain::schedule::{Missed, Schedule};
use ursa_proto::v1::schedule_service_server::ScheduleService;
use ursa_proto::{ApiError, v1};

use super::{Answer, name, pages, refuse};
use crate::context::Context;
use crate::store::NewSchedule;

/// See the module.
#[derive(Debug)]
pub(crate) struct ScheduleApi(pub Context);

#[tonic::async_trait]
impl ScheduleService for ScheduleApi {
    async fn put_schedule(&self, request: Request<v1::PutScheduleRequest>) -> Answer<v1::Schedule> {
        let request = request.into_inner();
        name("name", &request.name)?;
        let time_zone = if request.time_zone.is_empty() { "UTC" } else { request.time_zone.as_str() };
        let wire = request.pipeline.ok_or_else(|| ApiError::invalid("pipeline: is missing"))?;
        let message = wire.encode_to_vec();
        let schedule =
            Schedule::parse(&request.cron, time_zone).map_err(|error| ApiError::invalid(error.to_string()))?;
        let spec = PipelineSpec::try_from(wire).map_err(ApiError::from)?;
        pipeline::check(&spec).map_err(|error| ApiError::invalid(error.to_string()))?;
        let new = NewSchedule {
            name: &request.name,
            cron: request.cron.trim(),
            time_zone,
            schedule: &schedule,
            missed: missed(&request.missed)?,
            project: &spec.project,
            pipeline: &message,
        };
        self.0.store.put_schedule(&new).await.map_err(refuse)?;
        self.schedule(&request.name).await
    }

    async fn get_schedule(&self, request: Request<v1::GetScheduleRequest>) -> Answer<v1::Schedule> {
        self.schedule(&request.into_inner().name).await
    }

    async fn list_schedules(&self, request: Request<v1::ListSchedulesRequest>) -> Answer<v1::ListSchedulesResponse> {
        let (size, after) = pages::read(request.into_inner().page, pages::name)?;
        let mut schedules = self.0.store.schedules(after.as_deref(), size as i64 + 1).await.map_err(refuse)?;
        let next_page_token = pages::next_messages(&mut schedules, size, |schedule| schedule.name.clone());
        Ok(Response::new(v1::ListSchedulesResponse { schedules, next_page_token }))
    }

    async fn pause_schedule(&self, request: Request<v1::PauseScheduleRequest>) -> Answer<v1::Schedule> {
        let request = request.into_inner();
        self.0.store.pause_schedule(&request.name, request.paused).await.map_err(refuse)?;
        self.schedule(&request.name).await
    }

    async fn delete_schedule(&self, request: Request<v1::DeleteScheduleRequest>) -> Answer<v1::DeleteScheduleResponse> {
        self.0.store.delete_schedule(&request.into_inner().name).await.map_err(refuse)?;
        Ok(Response::new(v1::DeleteScheduleResponse {}))
    }
}

impl ScheduleApi {
    async fn schedule(&self, name: &str) -> Answer<v1::Schedule> {
        Ok(Response::new(self.0.store.schedule(name).await.map_err(refuse)?))
    }
}

fn missed(word: &str) -> Result<Missed, Status> {
    if word.is_empty() {
        return Ok(Missed::default());
    }
    word.parse().map_err(|error| {
        let known: Vec<_> = Missed::ALL.iter().map(|missed| missed.as_str()).collect();
        ApiError::invalid(format!("missed: {error}; known are {}", known.join(", "))).into()
    })
}
