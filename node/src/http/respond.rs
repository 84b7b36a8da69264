//! A request's head to its answer.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};

use super::{Ages, Probe, judge, silent_after};
use crate::metrics::{Exposition, Format};
use crate::node::steady_ns;
use crate::published::Snapshot;
use crate::server::Shared;

/// What the port has to tell.
pub(crate) struct Site {
    shared: Arc<Shared>,
    exposition: Exposition,
    silent_after: Duration,
}

impl Site {
    /// Tells of what is shared here, by a node with these heartbeats.
    pub(crate) fn new(shared: Arc<Shared>, heartbeat_ms: u64) -> Self {
        let silent_after = silent_after(heartbeat_ms);
        Self {
            exposition: Exposition::new(Arc::clone(&shared), silent_after),
            shared,
            silent_after,
        }
    }

    /// Answers a request by its head; a body is not read.
    pub(super) fn respond<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let headers = request.headers();
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refused = text(
                StatusCode::METHOD_NOT_ALLOWED,
                "only GET and HEAD are answered here",
                headers,
            );
            let allowed = hyper::header::HeaderValue::from_static("GET, HEAD");
            refused.headers_mut().insert(ALLOW, allowed);
            return refused;
        }
        let path = request.uri().path();
        if path == "/metrics" {
            return self.metrics(headers);
        }
        match Probe::of_path(path) {
            Some(probe) => self.probe(probe, headers),
            None => text(StatusCode::NOT_FOUND, "there is no such page", headers),
        }
    }

    fn probe(&self, probe: Probe, headers: &HeaderMap) -> Response<Full<Bytes>> {
        let told = self.shared.published.read();
        let verdict = judge(probe, &told, &ages(&self.shared, &told, self.silent_after));
        let status = match verdict.yes {
            true => StatusCode::OK,
            false => StatusCode::SERVICE_UNAVAILABLE,
        };
        text(status, &verdict.why, headers)
    }

    fn metrics(&self, headers: &HeaderMap) -> Response<Full<Bytes>> {
        let format = match accepts(headers, "application/openmetrics-text") {
            true => Format::OpenMetrics,
            false => Format::Prometheus,
        };
        let page = self.exposition.render(format);
        answer(StatusCode::OK, format.content_type(), page)
    }
}

/// How long ago things happened, now.
pub(crate) fn ages(shared: &Shared, told: &Snapshot, silent_after: Duration) -> Ages {
    let now = steady_ns();
    let since = |then: u64| Duration::from_nanos(now.saturating_sub(then));
    Ages {
        turn: since(shared.published.turned_ns()),
        writer: since(shared.published.writer_heard_ns()),
        member: told.member_heard_ns.map(since),
        silent_after,
    }
}

/// One line, as text or as JSON.
fn text(status: StatusCode, words: &str, headers: &HeaderMap) -> Response<Full<Bytes>> {
    let ok = status == StatusCode::OK;
    if accepts(headers, "application/json") {
        let line = serde_json::json!({ "ok": ok, "message": words }).to_string() + "\n";
        return answer(status, "application/json", line);
    }
    let yes = if ok { "yes" } else { "no" };
    let line = format!("{yes}: {}\n", words.replace('\n', " "));
    answer(status, "text/plain; charset=utf-8", line)
}

fn answer(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let value = hyper::header::HeaderValue::from_static;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, value(content_type));
    // An answer is of this moment.
    headers.insert(CACHE_CONTROL, value("no-store"));
    response
}

/// Whether the request names this type.
fn accepts(headers: &HeaderMap, content_type: &str) -> bool {
    let wanted = headers.get_all(ACCEPT).iter();
    let mut texts = wanted.filter_map(|value| value.to_str().ok());
    texts.any(|text| text.contains(content_type))
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;
    use crate::published::{Health, Role};

    fn site() -> (Site, Arc<Shared>) {
        let shared = Arc::new(Shared::default());
        shared.published.turn();
        shared.published.hear_writer();
        let told = |snapshot: &mut Snapshot| {
            snapshot.health = Health {
                role: Role::Replica,
                following: true,
                ..Health::default()
            };
        };
        assert!(shared.published.update(told));
        (Site::new(Arc::clone(&shared), 60_000), shared)
    }

    fn ask(site: &Site, method: &str, path: &str, accept: &str) -> Response<Full<Bytes>> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(ACCEPT, accept)
            .body(())
            .unwrap();
        site.respond(&request)
    }

    fn body(response: Response<Full<Bytes>>) -> String {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let collected = runtime.block_on(response.into_body().collect()).unwrap();
        String::from_utf8(collected.to_bytes().to_vec()).unwrap()
    }

    #[test]
    fn a_probe_is_answered_with_a_status_and_one_line() {
        let (site, _) = site();
        let yes = ask(&site, "GET", "/replica?x=1", "*/*");
        assert_eq!(yes.status(), StatusCode::OK);
        assert_eq!(body(yes), "yes: replica, follows a primary\n");
        let no = ask(&site, "HEAD", "/primary", "text/plain");
        assert_eq!(no.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(body(no), "no: its role is replica\n");
    }

    #[test]
    fn who_accepts_json_gets_json() {
        let (site, _) = site();
        let no = ask(
            &site,
            "GET",
            "/in-sync",
            "text/html, application/json;q=0.9",
        );
        assert_eq!(no.headers()[CONTENT_TYPE], "application/json");
        let line: serde_json::Value = serde_json::from_str(&body(no)).unwrap();
        assert_eq!(line["ok"], false);
        assert_eq!(
            line["message"],
            "it follows, but commits do not wait for it"
        );
    }

    #[test]
    fn other_methods_and_pages_are_refused() {
        let (site, _) = site();
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "BREW"] {
            for path in ["/livez", "/metrics", "/nowhere"] {
                let refused = ask(&site, method, path, "*/*");
                assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
                assert_eq!(refused.headers()[ALLOW], "GET, HEAD");
            }
        }
        for path in ["/", "/livez/", "/metrics/x", "//livez"] {
            let missing = ask(&site, "GET", path, "*/*");
            assert_eq!(missing.status(), StatusCode::NOT_FOUND, "{path}");
        }
    }

    #[test]
    fn metrics_come_in_the_format_that_is_asked_for() {
        let (site, _) = site();
        let open = ask(
            &site,
            "GET",
            "/metrics",
            "application/openmetrics-text;q=0.8,*/*",
        );
        assert_eq!(
            open.headers()[CONTENT_TYPE],
            Format::OpenMetrics.content_type()
        );
        assert!(body(open).ends_with("# EOF\n"));
        let plain = ask(&site, "GET", "/metrics", "text/plain");
        assert_eq!(
            plain.headers()[CONTENT_TYPE],
            Format::Prometheus.content_type()
        );
        assert!(body(plain).contains("kanjo_role{role=\"replica\"} 1"));
    }
}
