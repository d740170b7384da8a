//! Pages of other origins: preflights and calls.

mod common;

use std::time::Duration;

use common::{Line, Response, frame, only, post};
use grpc_web::{Cors, Web};

const ORIGIN: &str = "https://app.example.org";

fn call(web: &Web, fields: &str) -> Response {
    let mut line = Line::new(web);
    line.feed(&post("/test.Bytes/Echo", fields, &frame(b"x")));
    let response = only(&mut line);
    assert_eq!(line.service.started.get(), usize::from(response.status == 200), "{fields}");
    response
}

fn preflight(web: &Web, fields: &str) -> Response {
    let mut line = Line::new(web);
    let request = format!(
        "OPTIONS /test.Bytes/Echo HTTP/1.1\r\nHost: h\r\nAccess-Control-Request-Method: POST\r\n{fields}\r\n"
    );
    line.feed(request.as_bytes());
    assert_eq!(line.ended, None);
    only(&mut line)
}

#[test]
fn rule_44_a_preflight_tells_methods_headers_and_age() {
    let web =
        Web::new().cors(Cors::origins([ORIGIN]).max_age(Duration::from_secs(60)).credentials(true));
    let fields =
        format!("Origin: {ORIGIN}\r\nAccess-Control-Request-Headers: content-type, X-Any,x y\r\n");
    let response = preflight(&web, &fields);
    assert_eq!((response.status, response.body.len()), (204, 0));
    for (name, value) in [
        ("access-control-allow-origin", ORIGIN),
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-methods", "POST"),
        ("access-control-allow-headers", "content-type,X-Any"),
        ("access-control-max-age", "60"),
        ("vary", "origin, access-control-request-headers"),
    ] {
        assert_eq!(response.field(name), Some(value), "{name}");
    }
}

#[test]
fn rule_44_a_preflight_of_a_foreign_origin_is_refused() {
    let web = Web::new().cors(Cors::origins([ORIGIN]));
    for origin in [
        "https://app.example.org.evil.com",
        "http://app.example.org",
        "null",
        "https://app.example.org:8443",
    ] {
        let response = preflight(&web, &format!("Origin: {origin}\r\n"));
        assert_eq!(response.status, 403, "{origin}");
        assert!(response.fields.iter().all(|(name, _)| !name.starts_with("access-control")));
    }
    let twice = format!("Origin: {ORIGIN}\r\nOrigin: {ORIGIN}\r\n");
    assert_eq!(preflight(&web, &twice).status, 403);
    assert_eq!(preflight(&Web::new(), &format!("Origin: {ORIGIN}\r\n")).status, 403);
}

#[test]
fn rule_44_headers_that_are_not_listed_are_not_allowed() {
    let web = Web::new().cors(Cors::origins([ORIGIN]).headers(["x-known"]));
    let fields = format!(
        "Origin: {ORIGIN}\r\nAccess-Control-Request-Headers: x-grpc-web,x-known,x-other\r\n"
    );
    let response = preflight(&web, &fields);
    assert_eq!(response.field("access-control-allow-headers"), Some("x-grpc-web,x-known"));
}

#[test]
fn rule_44_a_response_is_shown_to_an_allowed_origin_with_its_metadata() {
    let web = Web::new().cors(Cors::origins([ORIGIN]).expose(["x-own", "bad name"]));
    let response = call(&web, &format!("Origin: {ORIGIN}\r\nx-ask: 1\r\n"));
    assert_eq!(response.status, 200);
    assert_eq!(response.field("access-control-allow-origin"), Some(ORIGIN));
    assert_eq!(response.field("access-control-allow-credentials"), None);
    let shown = Some("grpc-status,grpc-message,x-answer,x-own");
    assert_eq!(response.field("access-control-expose-headers"), shown);
    assert_eq!(response.field("vary"), Some("origin"));
}

#[test]
fn rule_44_a_call_of_a_foreign_origin_reaches_no_handler() {
    let web = Web::new().cors(Cors::origins([ORIGIN]));
    for fields in [
        "Origin: https://evil.com\r\n",
        "Origin: null\r\n",
        "Origin: https://h.evil.com\r\n",
        "Origin: https://h:1\r\n",
    ] {
        let response = call(&web, fields);
        assert_eq!(response.status, 403, "{fields}");
        assert!(response.fields.iter().all(|(name, _)| !name.starts_with("access-control")));
        assert_eq!(call(&Web::new(), fields).status, 403, "{fields} without a list");
    }
    let twice = format!("Origin: {ORIGIN}\r\nOrigin: https://evil.com\r\n");
    assert_eq!(call(&web, &twice).status, 403);
}

#[test]
fn rule_44_programs_and_pages_of_the_own_origin_need_no_list() {
    for fields in ["", "Origin: https://h\r\n", "Origin: http://h\r\n"] {
        let response = call(&Web::new(), fields);
        assert_eq!((response.status, response.fields.len()), (200, 2), "{fields}");
        // With a list caches are told that the answer depends on the origin.
        let listed = call(&Web::new().cors(Cors::origins([ORIGIN])), fields);
        assert_eq!(listed.field("vary"), Some("origin"));
        assert_eq!(listed.field("access-control-allow-origin"), None);
    }
}

#[test]
fn rule_44_any_origin_is_a_star_and_has_no_credentials() {
    let web = Web::new().cors(Cors::any().credentials(true));
    for response in [call(&web, "Origin: https://a\r\n"), preflight(&web, "Origin: https://a\r\n")]
    {
        assert_eq!(response.field("access-control-allow-origin"), Some("*"));
        assert_eq!(response.field("access-control-allow-credentials"), None);
        assert!(!response.field("vary").is_some_and(|vary| vary.contains("origin")));
    }
}

#[test]
fn rule_44_a_function_may_choose_the_origins() {
    let web =
        Web::new().cors(Cors::check(|origin| origin.ends_with(".example.org")).credentials(true));
    let response = call(&web, "Origin: https://b.example.org\r\n");
    assert_eq!(response.field("access-control-allow-origin"), Some("https://b.example.org"));
    assert_eq!(response.field("access-control-allow-credentials"), Some("true"));
    assert_eq!(call(&web, "Origin: https://b.example.com\r\n").status, 403);
}
