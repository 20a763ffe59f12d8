//! The monthly cost, line by line.

use simulator::cost::{Cost, LineItem};

use crate::report::document::Table;

pub(super) fn cost_table(after: &Cost, before: Option<&Cost>) -> Table {
    let mut table = match before {
        Some(_) => Table::new(["USD/month", "before", "after"]),
        None => Table::new(["line", "USD/month"]),
    };
    let mut row = |what: String, cost: String, was: Option<String>| {
        let mut cells = vec![what];
        cells.extend(was);
        cells.push(cost);
        table.rows.push(cells);
    };
    for (line, cost) in after.lines() {
        let was = before.map(|before| before.get(line).to_string());
        row(line_name(line), cost.to_string(), was);
    }
    row(
        "total".into(),
        after.total().to_string(),
        before.map(|before| before.total().to_string()),
    );
    table
}

fn line_name(line: LineItem) -> String {
    line.to_string().replace('_', " ")
}
