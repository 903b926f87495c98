//! `grpc.health.v1`: serving until the daemon drains. Open to all, and therefore bounded: in what a request may be and
//! how long it may take, and in how many may watch at once.

use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt, once};
use tonic::Status;
use tonic::service::Routes;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::frames::{self, MESSAGE_BYTES_MAX};
use super::streams::stopping;
use crate::control::http::{App, Failure};
use crate::control::operation::SERVICE;
use crate::control::tally::RequestRefusal;

/// Who may watch at once; one more is refused.
const WATCHES_MAX: usize = 32;

pub struct Watched {
    app: App,
    places: Arc<Semaphore>,
}

pub fn routes(app: App) -> Router {
    let watched = Watched {
        app,
        places: Arc::new(Semaphore::new(WATCHES_MAX)),
    };
    let server = HealthServer::new(watched).max_decoding_message_size(MESSAGE_BYTES_MAX);
    Routes::new(server)
        .into_axum_router()
        .reset_fallback()
        .layer(from_fn(whole))
}

/// Hands on requests whose one message is there as a whole.
async fn whole(request: Request, next: Next) -> Result<Response, Failure> {
    let (parts, body) = request.into_parts();
    let message = frames::read(body).await?;
    let request = Request::from_parts(parts, Body::from(frames::framed(&message)));
    Ok(next.run(request).await)
}

/// The whole daemon has no name.
fn status(is_draining: bool, service: &str) -> ServingStatus {
    match service {
        "" | SERVICE if is_draining => ServingStatus::NotServing,
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
        request: tonic::Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<HealthCheckResponse>, Status> {
        let is_draining = self.app.service.is_draining();
        match status(is_draining, &request.into_inner().service) {
            ServingStatus::ServiceUnknown => Err(Status::not_found("There is no such service.")),
            known => Ok(tonic::Response::new(response(known))),
        }
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: tonic::Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<Self::WatchStream>, Status> {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            self.app.service.tally().refuse_request(RequestRefusal::Streams);
            return Err(Status::resource_exhausted("As many watch the health as may."));
        };
        let service = request.into_inner().service;
        let mut draining = self.app.service.draining();
        let mut is_over = self.app.stopping.clone();
        let (news, taken) = mpsc::channel(1);
        tokio::spawn(async move {
            let _place = place;
            let tell = async {
                let mut told = None;
                loop {
                    let now = status(*draining.borrow_and_update(), &service);
                    let is_news = told.replace(now) != Some(now);
                    if is_news && news.send(Ok(response(now))).await.is_err() {
                        return;
                    }
                    if draining.changed().await.is_err() {
                        return;
                    }
                }
            };
            tokio::select! {
                () = tell => {}
                () = news.closed() => {}
                _ = is_over.wait_for(|stopping| *stopping) => {}
            }
        });
        let told = ReceiverStream::new(taken).chain(once(Err(stopping())));
        Ok(tonic::Response::new(Box::pin(told)))
    }
}
