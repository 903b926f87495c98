//! `grpc.health.v1`: serving until the daemon drains.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::control::http::App;
use crate::control::operation::SERVICE;

/// Between two looks for whoever watches.
const INTERVAL: Duration = Duration::from_millis(50);

pub struct Watched(App);

pub fn service(app: App) -> HealthServer<Watched> {
    HealthServer::new(Watched(app))
}

/// The whole daemon has no name.
fn status(app: &App, service: &str) -> ServingStatus {
    match service {
        "" | SERVICE if app.service.is_draining() => ServingStatus::NotServing,
        "" | SERVICE => ServingStatus::Serving,
        _ => ServingStatus::ServiceUnknown,
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse {
        status: status.into(),
    }
}

#[tonic::async_trait]
impl Health for Watched {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        match status(&self.0, &request.into_inner().service) {
            ServingStatus::ServiceUnknown => Err(Status::not_found("There is no such service.")),
            known => Ok(Response::new(response(known))),
        }
    }

    type WatchStream = ReceiverStream<Result<HealthCheckResponse, Status>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let app = self.0.clone();
        let service = request.into_inner().service;
        let (news, taken) = mpsc::channel(1);
        tokio::spawn(async move {
            let mut told = None;
            loop {
                let now = status(&app, &service);
                if told.replace(now) != Some(now) && news.send(Ok(response(now))).await.is_err() {
                    return;
                }
                tokio::select! {
                    () = tokio::time::sleep(INTERVAL) => {}
                    () = news.closed() => return,
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(taken)))
    }
}
