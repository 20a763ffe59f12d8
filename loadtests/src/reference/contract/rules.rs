//! The rules of the contract.

use futures::FutureExt as _;
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

use super::Rule;
use super::visitor::{PASSWORD, Visitor, same, sent, text};

const DOCUMENTS: &str = "/api/v1/documents";
const GENERATIONS: &str = "/api/v1/generations";
const NOBODY: &str = "00000000-0000-4000-8000-000000000000";

/// All of them: what the load scenario uses first, then what only the backend is expected to have.
pub(super) const ALL: [Rule; 31] = [
    ("health answers", |v| health(v).boxed()),
    ("ready answers while its dependencies do", |v| {
        ready(v).boxed()
    }),
    ("registration opens a session", |v| registers(v).boxed()),
    ("an address is registered once", |v| {
        registers_once(v).boxed()
    }),
    ("credentials that break a rule are refused", |v| {
        bad_credentials(v).boxed()
    }),
    ("login opens a session", |v| logs_in(v).boxed()),
    (
        "a wrong password and an unknown address are answered alike",
        |v| wrong_password(v).boxed(),
    ),
    ("who has no session is asked for one", |v| {
        no_session(v).boxed()
    }),
    ("logout ends the session", |v| logs_out(v).boxed()),
    ("a body that cannot be read is a problem", |v| {
        unreadable(v).boxed()
    }),
    ("a body of another kind is a problem", |v| {
        another_kind(v).boxed()
    }),
    ("there is no other route", |v| no_route(v).boxed()),
    ("a wrong method is told the right ones", |v| {
        wrong_method(v).boxed()
    }),
    ("an upload comes back byte for byte", |v| uploads(v).boxed()),
    ("what is no PDF is refused by content", |v| {
        no_pdf(v).boxed()
    }),
    ("a form without a file is refused", |v| no_file(v).boxed()),
    ("a file beyond 10 MiB is refused", |v| too_large(v).boxed()),
    ("orders that break a rule are refused", |v| {
        bad_orders(v).boxed()
    }),
    ("an order becomes a PDF with the pages it says", |v| {
        order_to_pdf(v).boxed()
    }),
    ("a PDF that is not written yet is a conflict", |v| {
        early_pdf(v).boxed()
    }),
    ("another user's things are not there", |v| {
        others_things(v).boxed()
    }),
    ("an order of more than 256 KiB is refused unread", |v| {
        huge_order(v).boxed()
    }),
    ("a damaged PDF is refused when it is uploaded", |v| {
        damaged(v).boxed()
    }),
    ("the same file is kept once per user", |v| {
        kept_once(v).boxed()
    }),
    (
        "every answer carries a request id, and a sane one is kept",
        |v| request_id(v).boxed(),
    ),
    ("an idempotency key makes one generation", |v| {
        idempotent(v).boxed()
    }),
    ("Prefer: wait answers with the finished generation", |v| {
        waits(v).boxed()
    }),
    ("a running generation is cancelled", |v| cancels(v).boxed()),
    ("documents and generations are listed", |v| lists(v).boxed()),
    ("a document is deleted", |v| deletes(v).boxed()),
    ("metrics and the interface's description are served", |v| {
        describes(v).boxed()
    }),
];

type Kept = Result<(), String>;

async fn health(visitor: Visitor) -> Kept {
    visitor.get("/health").await?.expect(200).map(drop)
}

async fn ready(visitor: Visitor) -> Kept {
    visitor.get("/ready").await?.expect(200).map(drop)
}

fn session(body: &Value, visitor: &Visitor) -> Kept {
    text(body, "token")?;
    text(&body["user"], "id")?;
    same(
        &text(&body["user"], "email")?,
        &visitor.email().as_str(),
        "the email",
    )?;
    body["expires_in_s"]
        .as_u64()
        .map(drop)
        .ok_or_else(|| "no expires_in_s".to_owned())
}

async fn registers(visitor: Visitor) -> Kept {
    let answer = visitor
        .post("/api/v1/auth/register", &visitor.credentials())
        .await?;
    session(answer.expect(201)?, &visitor)
}

async fn registers_once(visitor: Visitor) -> Kept {
    visitor.registered().await?;
    let shouted = json!({"email": visitor.email().to_uppercase(), "password": PASSWORD});
    let again = visitor.post("/api/v1/auth/register", &shouted).await?;
    again.problem(409).map(drop)
}

async fn bad_credentials(visitor: Visitor) -> Kept {
    for body in [
        json!({"email": "nobody", "password": PASSWORD}),
        json!({"email": visitor.email(), "password": "short"}),
        json!({"email": visitor.email()}),
        json!({"email": visitor.email(), "password": PASSWORD, "admin": true}),
    ] {
        let refused = visitor.post("/api/v1/auth/register", &body).await?;
        refused
            .problem(422)
            .map_err(|found| format!("{found} for {body}"))?;
    }
    Ok(())
}

async fn logs_in(visitor: Visitor) -> Kept {
    visitor.registered().await?;
    let answer = visitor
        .post("/api/v1/auth/login", &visitor.credentials())
        .await?;
    session(answer.expect(200)?, &visitor)?;
    let user = visitor.with_token(Some(text(&answer.body, "token")?));
    let me = user.get("/api/v1/auth/me").await?;
    same(
        &text(me.expect(200)?, "email")?,
        &visitor.email().as_str(),
        "the email",
    )
}

async fn wrong_password(visitor: Visitor) -> Kept {
    visitor.registered().await?;
    let mut told = Vec::new();
    for (email, password) in [
        (visitor.email(), "not the password".to_owned()),
        ("unknown@example.com".to_owned(), PASSWORD.to_owned()),
    ] {
        let body = json!({"email": email, "password": password});
        let refused = visitor.post("/api/v1/auth/login", &body).await?;
        let mut problem = refused.problem(401)?.clone();
        problem["request_id"] = Value::Null;
        told.push(problem);
    }
    same(&told[0], &told[1], "the answer")
}

async fn no_session(visitor: Visitor) -> Kept {
    for token in [None, Some("nonsense")] {
        let refused = visitor.with_token(token).get("/api/v1/auth/me").await?;
        refused.problem(401)?;
        refused.header("www-authenticate")?;
    }
    Ok(())
}

async fn logs_out(visitor: Visitor) -> Kept {
    let user = visitor.registered().await?;
    let out = sent(user.request(Method::POST, "/api/v1/auth/logout")).await?;
    out.expect(204)?;
    user.get("/api/v1/auth/me").await?.problem(401).map(drop)
}

async fn unreadable(visitor: Visitor) -> Kept {
    let user = visitor.registered().await?;
    for body in ["{", ""] {
        let request = user
            .request(Method::POST, GENERATIONS)
            .header(CONTENT_TYPE, "application/json");
        let refused = sent(request.body(body)).await?;
        refused
            .problem(400)
            .map_err(|found| format!("{found} for {body:?}"))?;
    }
    Ok(())
}

async fn another_kind(visitor: Visitor) -> Kept {
    let user = visitor.registered().await?;
    let plain = sent(user.request(Method::POST, GENERATIONS).body("{}")).await?;
    plain.problem(415).map(drop)
}

async fn no_route(visitor: Visitor) -> Kept {
    let user = visitor.registered().await?;
    for path in [
        "/",
        "/api/v1/nowhere",
        "/api/v1/generations/not-an-id",
        "/api/v1/documents/not-an-id",
    ] {
        user.get(path)
            .await?
            .problem(404)
            .map_err(|found| format!("{found} for {path}"))?;
    }
    Ok(())
}

async fn wrong_method(visitor: Visitor) -> Kept {
    let refused = sent(visitor.request(Method::PATCH, "/api/v1/auth/login")).await?;
    refused.problem(405)?;
    same(&refused.header("allow")?, &"POST", "allow")
}

async fn uploads(visitor: Visitor) -> Kept {
    let user = visitor.registered().await?;
    let answer = user.upload_as("file", user.document.to_vec()).await?;
    let document = answer.expect(201)?;
    let id = text(document, "id")?;
    same(
        &answer.header("location")?,
        &format!("{DOCUMENTS}/{id}").as_str(),
        "location",
    )?;
    same(&text(document, "file_name")?, &"tender.pdf", "file_name")?;
    same(
        &document["size_bytes"].as_u64(),
        &u64::try_from(user.document.len()).ok(),
        "size_bytes",
    )?;
    let shown = user.get(&format!("{DOCUMENTS}/{id}")).await?;
    same(&shown.expect(200)?["sha256"], &document["sha256"], "sha256")?;
    let link = user.get(&format!("{DOCUMENTS}/{id}/content")).await?;
    if user.follow(&link).await? == *user.document {
        Ok(())
    } else {
        Err("the content differs".to_owned())
    }
}

async fn no_pdf(visitor: Visitor) -> Kept {
    let user = visitor.registered().await?;
    for bytes in [b"PK\x03\x04".to_vec(), vec![], vec![b'x'; 600_000]] {
        user.upload_as("file", bytes).await?.problem(415)?;
    }
    Ok(())
}

async fn no_file(visitor: Visitor) -> Kept {
    let user = visitor.registered().await?;
    let refused = user.upload_as("attachment", user.document.to_vec()).await?;
    refused.problem(422).map(drop)
}

async fn too_large(visitor: Visitor) -> Kept {
    let user = visitor.registered().await?;
    let mut bytes = user.document.to_vec();
    bytes.resize(10 * 1024 * 1024 + 1, b'\n');
    user.upload_as("file", bytes).await?.problem(413).map(drop)
}

async fn bad_orders(visitor: Visitor) -> Kept {
    let user = visitor.registered().await?;
    for body in [
        Visitor::order(&[NOBODY]),
        json!({"title": " ", "instructions": "x"}),
        json!({"title": "x"}),
        json!({"title": "x", "instructions": "y", "document_ids": ["one"]}),
        json!({"title": "x", "instructions": "y", "priority": 9}),
        json!([]),
    ] {
        let refused = user.post(GENERATIONS, &body).await?;
        refused
            .problem(422)
            .map_err(|found| format!("{found} for {body}"))?;
    }
    Ok(())
}

async fn huge_order(visitor: Visitor) -> Kept {
    let user = visitor.registered().await?;
    let huge = json!({"title": "x", "instructions": "y".repeat(300_000)});
    user.post(GENERATIONS, &huge).await?.problem(413).map(drop)
}

async fn order_to_pdf(visitor: Visitor) -> Kept {
    let user = visitor.registered().await?;
    let document = user.uploaded().await?;
    let answer = user
        .post(GENERATIONS, &Visitor::order(&[&document]))
        .await?;
    let id = text(answer.expect(202)?, "id")?;
    let path = format!("{GENERATIONS}/{id}");
    same(&answer.header("location")?, &path.as_str(), "location")?;
    answer.header("retry-after")?;
    let poll = user.get(&path).await?;
    poll.expect(200)?;
    poll.header("retry-after")?;
    let ended = user.ended(id).await?;
    same(&text(&ended, "status")?, &"succeeded", "status")?;
    same(&ended["progress"].as_u64(), &Some(100), "progress")?;
    for key in ["created_at", "started_at", "finished_at"] {
        text(&ended, key)?;
    }
    if ended["tokens"]["output"].as_u64().unwrap_or(0) == 0 {
        return Err("no output tokens".to_owned());
    }
    let link = user.get(&format!("{path}/pdf")).await?;
    let pdf = lopdf::Document::load_mem(&user.follow(&link).await?);
    let pdf = pdf.map_err(|error| format!("a PDF that does not open: {error}"))?;
    let pages = u64::try_from(pdf.get_pages().len()).ok();
    same(&pages, &ended["page_count"].as_u64(), "the number of pages")
}

async fn early_pdf(visitor: Visitor) -> Kept {
    let user = visitor.registered().await?;
    let answer = user.post(GENERATIONS, &Visitor::order(&[])).await?;
    let id = text(answer.expect(202)?, "id")?;
    let early = user.get(&format!("{GENERATIONS}/{id}/pdf")).await?;
    early.problem(409)?;
    user.ended(id).await.map(drop)
}

async fn others_things(visitor: Visitor) -> Kept {
    let owner = visitor.registered().await?;
    let document = owner.uploaded().await?;
    let answer = owner
        .post(GENERATIONS, &Visitor::order(&[&document]))
        .await?;
    let id = text(answer.expect(202)?, "id")?;
    let stranger = visitor.stranger().await?;
    for path in [
        format!("{DOCUMENTS}/{document}"),
        format!("{DOCUMENTS}/{document}/content"),
        format!("{GENERATIONS}/{id}"),
        format!("{GENERATIONS}/{id}/pdf"),
    ] {
        stranger
            .get(&path)
            .await?
            .problem(404)
            .map_err(|found| format!("{found} for {path}"))?;
    }
    let order = stranger
        .post(GENERATIONS, &Visitor::order(&[&document]))
        .await?;
    order.problem(422)?;
    owner.ended(id).await.map(drop)
}

async fn damaged(visitor: Visitor) -> Kept {
    let user = visitor.registered().await?;
    let half = user.document[..user.document.len() / 2].to_vec();
    user.upload_as("file", half).await?.problem(422).map(drop)
}

async fn kept_once(visitor: Visitor) -> Kept {
    let user = visitor.registered().await?;
    let first = user.uploaded().await?;
    let again = user.upload_as("file", user.document.to_vec()).await?;
    same(
        &text(again.expect(200)?, "id")?,
        &first.as_str(),
        "the second id",
    )
}

async fn request_id(visitor: Visitor) -> Kept {
    let asked = visitor
        .request(Method::GET, "/health")
        .header("x-request-id", "abc-123");
    same(
        &sent(asked).await?.header("x-request-id")?,
        &"abc-123",
        "x-request-id",
    )
}

async fn idempotent(visitor: Visitor) -> Kept {
    let user = visitor.registered().await?;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let request = user
            .request(Method::POST, GENERATIONS)
            .header("idempotency-key", "order-1");
        let answer = sent(request.json(&Visitor::order(&[]))).await?;
        ids.push(text(answer.expect(202)?, "id")?.to_owned());
    }
    for id in &ids {
        user.ended(id).await?;
    }
    if ids[0] == ids[1] {
        Ok(())
    } else {
        Err("a second generation".to_owned())
    }
}

async fn waits(visitor: Visitor) -> Kept {
    let user = visitor.registered().await?;
    let request = user
        .request(Method::POST, GENERATIONS)
        .header("prefer", "wait=25");
    let answer = sent(request.json(&Visitor::order(&[]))).await?;
    if let Ok(id) = text(&answer.body, "id") {
        user.ended(id).await?;
    }
    same(
        &text(answer.expect(200)?, "status")?,
        &"succeeded",
        "status",
    )
}

async fn cancels(visitor: Visitor) -> Kept {
    let user = visitor.registered().await?;
    let answer = user.post(GENERATIONS, &Visitor::order(&[])).await?;
    let id = text(answer.expect(202)?, "id")?;
    let cancel = sent(user.request(Method::POST, &format!("{GENERATIONS}/{id}/cancel"))).await?;
    let ended = user.ended(id).await?;
    if !(200..300).contains(&cancel.status) {
        return Err(format!("{}", cancel.status));
    }
    same(&text(&ended, "status")?, &"cancelled", "status")
}

async fn lists(visitor: Visitor) -> Kept {
    let user = visitor.registered().await?;
    let document = user.uploaded().await?;
    let listed = user.get(DOCUMENTS).await?;
    same(
        &text(&listed.expect(200)?["items"][0], "id")?,
        &document.as_str(),
        "the first item",
    )?;
    same(
        &user.get(GENERATIONS).await?.expect(200)?["items"],
        &json!([]),
        "the list of generations",
    )
}

async fn deletes(visitor: Visitor) -> Kept {
    let user = visitor.registered().await?;
    let path = format!("{DOCUMENTS}/{}", user.uploaded().await?);
    sent(user.request(Method::DELETE, &path))
        .await?
        .expect(204)?;
    user.get(&path).await?.problem(404).map(drop)
}

async fn describes(visitor: Visitor) -> Kept {
    let described = visitor.get("/openapi.json").await?;
    same(
        &text(described.expect(200)?, "openapi")?,
        &"3.1.0",
        "openapi",
    )?;
    visitor.get("/metrics").await?.expect(200).map(drop)
}
