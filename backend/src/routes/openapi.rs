//! The OpenAPI 3.1 document: what the handlers say of themselves, completed with what the
//! middleware answers in their place.

use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::{Object, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Components, Content, OpenApi, Ref, RefOr};

use crate::error::ProblemBody;
use crate::routes::cookie;

/// The frame that the router's paths go into.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Allegiant",
        version = "1",
        description = "Writes technical proposals: upload PDFs, ask for a generation, follow it, download a PDF.\n\n\
            Log in for a session: its token goes into every request as a bearer token, or stays in a cookie that \
            scripts cannot read. Every error is a problem as in RFC 9457, `application/problem+json`; its \
            `request_id` is also in the header `X-Request-Id` of every answer. Answers to a session carry \
            `RateLimit` and `RateLimit-Policy`.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    tags(
        (name = "accounts", description = "Registration and sessions."),
        (name = "documents", description = "The PDFs that proposals build on."),
        (name = "generations", description = "Proposals on their way, and when they are written."),
        (name = "operations", description = "What load balancers, autoscaling and developers ask."),
    ),
    components(schemas(ProblemBody)),
    security(("bearer" = []), ("cookie" = [])),
)]
pub(super) struct Frame;

const PROBLEM: &str = "application/problem+json";

/// A response that several operations share: its name, status and meaning.
struct Shared {
    name: &'static str,
    status: &'static str,
    description: &'static str,
    headers: &'static [&'static str],
}

const BAD_REQUEST: Shared = Shared {
    name: "BadRequest",
    status: "400",
    description: "The request cannot be read: broken JSON, a broken form, or a query or header that breaks its rules.",
    headers: &[],
};
const UNAUTHENTICATED: Shared = Shared {
    name: "Unauthenticated",
    status: "401",
    description: "No session, or one that has ended.",
    headers: &["WWW-Authenticate"],
};
const CROSS_ORIGIN: Shared = Shared {
    name: "CrossOrigin",
    status: "403",
    description: "The session came in a cookie and the request from a page of another origin.",
    headers: &[],
};
const NOT_FOUND: Shared = Shared {
    name: "NotFound",
    status: "404",
    description: "There is none with this id, or it is another user's.",
    headers: &[],
};
const TIMEOUT: Shared = Shared {
    name: "RequestTimeout",
    status: "408",
    description: "The request took too long.",
    headers: &[],
};
const TOO_LARGE: Shared = Shared {
    name: "TooLarge",
    status: "413",
    description: "The body exceeds its limit.",
    headers: &[],
};
const UNSUPPORTED: Shared = Shared {
    name: "UnsupportedMediaType",
    status: "415",
    description: "The body is not of the media type that is asked for.",
    headers: &[],
};
const INVALID: Shared = Shared {
    name: "Invalid",
    status: "422",
    description: "The request is readable, but breaks a rule; `detail` names it.",
    headers: &[],
};
const TOO_MANY: Shared = Shared {
    name: "TooManyRequests",
    status: "429",
    description: "A rate limit is used up.",
    headers: &["Retry-After", "RateLimit", "RateLimit-Policy"],
};
const INTERNAL: Shared = Shared {
    name: "Internal",
    status: "500",
    description: "A fault of the service.",
    headers: &[],
};
const UNAVAILABLE: Shared = Shared {
    name: "Unavailable",
    status: "503",
    description: "A dependency does not answer; nothing was done, come again.",
    headers: &["Retry-After"],
};

/// Adds to every operation what it answers besides its own, and to every error its form.
pub(super) fn complete(document: &mut OpenApi) {
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in operations(item) {
            complete_operation(path, method, operation);
        }
    }
    let components = document.components.get_or_insert_with(Components::new);
    for shared in [
        BAD_REQUEST,
        UNAUTHENTICATED,
        CROSS_ORIGIN,
        NOT_FOUND,
        TIMEOUT,
        TOO_LARGE,
        UNSUPPORTED,
        INVALID,
        TOO_MANY,
        INTERNAL,
        UNAVAILABLE,
    ] {
        let mut response = Response::new(shared.description);
        finish_response(&mut response, shared.status, shared.headers);
        components
            .responses
            .insert(shared.name.to_owned(), response.into());
    }
    for (name, header) in headers() {
        components.headers.insert(name.to_owned(), header.into());
    }
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("The token of a session."))
        .build();
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    let cookie = ApiKeyValue::with_description(
        cookie::SECURE_NAME,
        "The token of a session, for pages of this origin; requests that change something need the header `Origin`.",
    );
    components.add_security_scheme("cookie", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    [
        ("get", &mut item.get),
        ("post", &mut item.post),
        ("put", &mut item.put),
        ("patch", &mut item.patch),
        ("delete", &mut item.delete),
    ]
    .into_iter()
    .filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

fn complete_operation(path: &str, method: &'static str, operation: &mut Operation) {
    // `security(())` says that no session is needed; the specification's word for it is an empty list.
    let public = operation.security.is_some();
    if public {
        operation.security = Some(Vec::new());
    }
    let mut shared = vec![TIMEOUT, INTERNAL];
    if path.starts_with("/api/") {
        shared.push(UNAVAILABLE);
        if public {
            shared.push(TOO_MANY);
        }
    }
    if !public {
        shared.extend([UNAUTHENTICATED, TOO_MANY]);
        if method != "get" {
            shared.push(CROSS_ORIGIN);
        }
    }
    if operation.request_body.is_some() {
        shared.extend([BAD_REQUEST, TOO_LARGE, UNSUPPORTED, INVALID]);
    }
    let parameters = operation.parameters.iter().flatten();
    let has_query = parameters.clone().any(|parameter| {
        matches!(parameter, RefOr::T(one) if matches!(one.parameter_in, utoipa::openapi::path::ParameterIn::Query))
    });
    if has_query {
        shared.push(BAD_REQUEST);
    }
    if path.contains('{') {
        shared.push(NOT_FOUND);
    }
    let responses = &mut operation.responses.responses;
    for (status, response) in responses.iter_mut() {
        if let RefOr::T(response) = response {
            let limited: &[&str] = if public {
                &[]
            } else {
                &["RateLimit", "RateLimit-Policy"]
            };
            finish_response(response, status, limited);
        }
    }
    for one in shared {
        responses
            .entry(one.status.to_owned())
            .or_insert_with(|| Ref::from_response_name(one.name).into());
    }
}

/// The headers every response has, and the body every error has.
fn finish_response(response: &mut Response, status: &str, headers: &[&str]) {
    for name in headers.iter().chain(&["X-Request-Id"]) {
        response
            .headers
            .entry((*name).to_owned())
            .or_insert_with(|| RefOr::Ref(Ref::new(format!("#/components/headers/{name}"))));
    }
    let error = status.starts_with(['4', '5']);
    if error && response.content.is_empty() {
        let body = ResponseBuilder::new().content(
            PROBLEM,
            Content::new(Some(Ref::from_schema_name("Problem"))),
        );
        response.content = body.build().content;
    }
}

fn headers() -> [(&'static str, Header); 5] {
    let header = |kind, description: &str| {
        HeaderBuilder::new()
            .schema(Some(Object::with_type(kind)))
            .description(Some(description))
            .build()
    };
    [
        (
            "X-Request-Id",
            header(
                Type::String,
                "Names the request in logs and problems; a plain one of at most 64 characters is taken over from the request.",
            ),
        ),
        (
            "Retry-After",
            header(Type::Integer, "Seconds until it is worth asking again."),
        ),
        (
            "RateLimit",
            header(
                Type::String,
                "What is left of the limit: `\"name\";r=REMAINING;t=SECONDS` (draft-ietf-httpapi-ratelimit-headers).",
            ),
        ),
        (
            "RateLimit-Policy",
            header(Type::String, "The limit: `\"name\";q=REQUESTS;w=SECONDS`."),
        ),
        (
            "WWW-Authenticate",
            header(Type::String, "How to authenticate: `Bearer`."),
        ),
    ]
}
