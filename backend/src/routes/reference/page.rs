//! Draws an OpenAPI document as a page of plain HTML: operations by tag, then the schemas.

use std::fmt::{self, Write};

use serde_json::{Map, Value};

/// The page. `style` goes in unchanged: its hash is in the page's security policy.
pub(super) fn draw(document: &Value, style: &str) -> String {
    let mut html = String::new();
    write_page(&mut html, document, style).expect("writing to a string cannot fail");
    html
}

/// Text for HTML.
struct Text<'a>(&'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => formatter.write_str("&amp;")?,
                '<' => formatter.write_str("&lt;")?,
                '>' => formatter.write_str("&gt;")?,
                '"' => formatter.write_str("&quot;")?,
                other => formatter.write_char(other)?,
            }
        }
        Ok(())
    }
}

fn text<'a>(value: &'a Value, field: &str) -> Text<'a> {
    Text(value[field].as_str().unwrap_or_default())
}

/// The members of an object; none of anything else.
fn members<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    value[field].as_object().into_iter().flatten()
}

fn items<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    value[field].as_array().into_iter().flatten()
}

/// What a reference names; anything else is itself.
fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let pointer = value["$ref"]
        .as_str()
        .and_then(|name| name.strip_prefix('#'));
    pointer
        .and_then(|pointer| document.pointer(pointer))
        .unwrap_or(value)
}

fn write_page(html: &mut String, document: &Value, style: &str) -> fmt::Result {
    let info = &document["info"];
    let title = text(info, "title");
    write!(
        html,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title} API</title>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><style>{style}</style></head><body>\
         <header><h1>{title} API</h1>"
    )?;
    write_prose(html, info["description"].as_str().unwrap_or_default())?;
    html.push_str("<p>The same for programs: <a href=\"/openapi.json\">/openapi.json</a> (OpenAPI 3.1).</p></header><nav><ul>");
    for (path, method, operation) in operations(document) {
        let (id, path) = (text(operation, "operationId"), Text(path));
        write!(
            html,
            "<li><a href=\"#{id}\"><span class=\"method\">{method}</span> <code>{path}</code></a></li>"
        )?;
    }
    html.push_str("</ul></nav><main>");
    for tag in items(document, "tags") {
        write!(html, "<section><h2>{}</h2>", text(tag, "name"))?;
        write_prose(html, tag["description"].as_str().unwrap_or_default())?;
        for (path, method, operation) in operations(document) {
            if items(operation, "tags").any(|name| *name == tag["name"]) {
                write_operation(html, document, path, method, operation)?;
            }
        }
        html.push_str("</section>");
    }
    html.push_str("<section><h2>schemas</h2>");
    for (name, schema) in members(&document["components"], "schemas") {
        write_schema(html, name, schema)?;
    }
    html.push_str("</section></main></body></html>\n");
    Ok(())
}

/// Every operation with its path and method, in the document's order.
fn operations(document: &Value) -> impl Iterator<Item = (&String, &str, &Value)> {
    const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];
    members(document, "paths").flat_map(|(path, item)| {
        METHODS
            .into_iter()
            .filter_map(move |method| Some((path, method, item.get(method)?)))
    })
}

/// Paragraphs, with `code` between backticks.
fn write_prose(html: &mut String, prose: &str) -> fmt::Result {
    for paragraph in prose.split("\n\n").filter(|text| !text.trim().is_empty()) {
        html.push_str("<p>");
        write_line(html, paragraph)?;
        html.push_str("</p>");
    }
    Ok(())
}

fn write_line(html: &mut String, line: &str) -> fmt::Result {
    for (index, part) in line.split('`').enumerate() {
        if index % 2 == 1 {
            write!(html, "<code>{}</code>", Text(part))?;
        } else {
            write!(html, "{}", Text(part))?;
        }
    }
    Ok(())
}

fn write_operation(
    html: &mut String,
    document: &Value,
    path: &str,
    method: &str,
    operation: &Value,
) -> fmt::Result {
    let id = text(operation, "operationId");
    let path = Text(path);
    let open = operation["security"].as_array().is_some_and(Vec::is_empty);
    let session = if open {
        " <span class=\"open\">without a session</span>"
    } else {
        ""
    };
    let summary = text(operation, "summary");
    write!(
        html,
        "<details id=\"{id}\"><summary><span class=\"method\">{method}</span> <code>{path}</code> {summary}{session}</summary>"
    )?;
    write_prose(html, operation["description"].as_str().unwrap_or_default())?;
    if items(operation, "parameters").next().is_some() {
        html.push_str("<h4>Parameters</h4><table>");
        for parameter in items(operation, "parameters") {
            let (name, place) = (text(parameter, "name"), text(parameter, "in"));
            write!(html, "<tr><td><code>{name}</code></td><td>{place}</td><td>")?;
            write_type(html, &parameter["schema"])?;
            html.push_str("</td><td>");
            write_line(html, parameter["description"].as_str().unwrap_or_default())?;
            html.push_str("</td></tr>");
        }
        html.push_str("</table>");
    }
    for (media_type, content) in members(&operation["requestBody"], "content") {
        write!(html, "<h4>Body</h4><p><code>{}</code> ", Text(media_type))?;
        write_type(html, &content["schema"])?;
        html.push_str("</p>");
    }
    html.push_str("<h4>Answers</h4><table>");
    for (status, response) in members(operation, "responses") {
        write_response(html, status, resolved(document, response))?;
    }
    html.push_str("</table></details>");
    Ok(())
}

fn write_response(html: &mut String, status: &str, response: &Value) -> fmt::Result {
    write!(html, "<tr><td><code>{}</code></td><td>", Text(status))?;
    write_line(html, response["description"].as_str().unwrap_or_default())?;
    for (name, _) in members(response, "headers").filter(|(name, _)| *name != "X-Request-Id") {
        write!(html, " <code>{}</code>", Text(name))?;
    }
    html.push_str("</td><td>");
    for (media_type, content) in members(response, "content") {
        write!(html, "<code>{}</code> ", Text(media_type))?;
        write_type(html, &content["schema"])?;
    }
    html.push_str("</td></tr>");
    Ok(())
}

fn write_schema(html: &mut String, name: &str, schema: &Value) -> fmt::Result {
    let name = Text(name);
    write!(
        html,
        "<details id=\"schema-{name}\"><summary><code>{name}</code> "
    )?;
    write_line(html, schema["description"].as_str().unwrap_or_default())?;
    html.push_str("</summary>");
    let required: Vec<&Value> = items(schema, "required").collect();
    if schema["properties"].is_object() {
        html.push_str("<table>");
        for (field, property) in members(schema, "properties") {
            write!(html, "<tr><td><code>{}</code></td><td>", Text(field))?;
            write_type(html, property)?;
            if !required.iter().any(|name| *name == field) {
                html.push_str(", optional");
            }
            html.push_str("</td><td>");
            write_line(html, property["description"].as_str().unwrap_or_default())?;
            html.push_str("</td></tr>");
        }
        html.push_str("</table>");
    } else {
        html.push_str("<p>");
        write_type(html, schema)?;
        html.push_str("</p>");
    }
    html.push_str("</details>");
    Ok(())
}

/// A schema in a few words: its name with a link, or its type with what bounds it.
fn write_type(html: &mut String, schema: &Value) -> fmt::Result {
    if let Some(name) = schema["$ref"]
        .as_str()
        .and_then(|name| name.rsplit('/').next())
    {
        let name = Text(name);
        return write!(html, "<a href=\"#schema-{name}\"><code>{name}</code></a>");
    }
    for (index, option) in items(schema, "oneOf").enumerate() {
        if index > 0 {
            html.push_str(" or ");
        }
        write_type(html, option)?;
    }
    if schema["type"] == "array" {
        html.push_str("list of ");
        write_type(html, &schema["items"])?;
    } else {
        let names: Vec<&str> = match &schema["type"] {
            Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
            name => name.as_str().into_iter().collect(),
        };
        write!(html, "{}", Text(&names.join(" or ")))?;
    }
    write_bounds(html, schema.as_object())
}

fn write_bounds(html: &mut String, schema: Option<&Map<String, Value>>) -> fmt::Result {
    let bounds = [
        ("format", ""),
        ("enum", "one of "),
        ("minimum", "from "),
        ("maximum", "to "),
        ("minLength", "at least "),
        ("maxLength", "at most "),
        ("maxItems", "at most "),
    ];
    for (field, words) in bounds {
        match schema.and_then(|schema| schema.get(field)) {
            None => {}
            Some(Value::Array(values)) => {
                let values: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
                write!(html, ", {words}{}", Text(&values.join(", ")))?;
            }
            Some(Value::String(value)) => write!(html, ", {words}{}", Text(value))?,
            Some(value) => write!(html, ", {words}{}", Text(&value.to_string()))?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_page_shows_operations_and_schemas_and_escapes_their_texts() {
        let document = json!({
            "info": {"title": "T", "description": "Uses `code` & <b>.\n\nSecond."},
            "tags": [{"name": "things"}],
            "paths": {"/things/{id}": {"get": {
                "operationId": "showThing", "tags": ["things"], "summary": "Show <it>", "security": [],
                "parameters": [{"name": "id", "in": "path", "schema": {"type": "string", "format": "uuid"}}],
                "responses": {"404": {"$ref": "#/components/responses/NotFound"}},
            }}},
            "components": {
                "responses": {"NotFound": {"description": "None."}},
                "schemas": {"Thing": {"required": ["a"], "properties": {
                    "a": {"$ref": "#/components/schemas/Part"},
                    "b": {"type": ["integer", "null"], "minimum": 1},
                }}},
            },
        });
        let html = draw(&document, "body {}");
        for expected in [
            "Uses <code>code</code> &amp; &lt;b&gt;.</p><p>Second.",
            "<details id=\"showThing\">",
            "Show &lt;it&gt; <span class=\"open\">",
            "string, uuid",
            "<td><code>404</code></td><td>None.</td>",
            "<a href=\"#schema-Part\"><code>Part</code></a></td>",
            "integer or null, from 1, optional",
        ] {
            assert!(html.contains(expected), "{expected} in\n{html}");
        }
    }
}
