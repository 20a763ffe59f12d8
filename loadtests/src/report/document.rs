//! What a report consists of, before anybody decides how it looks.

use super::figures::Figure;

/// A report.
#[derive(Clone, Debug, Default)]
pub struct Document {
    /// Title of the whole.
    pub title: String,
    /// Its parts, in reading order.
    pub blocks: Vec<Block>,
}

/// One part of a report.
#[derive(Clone, Debug)]
pub enum Block {
    /// A heading below the title.
    Heading(String),
    /// A heading below a heading.
    Subheading(String),
    /// A paragraph of plain text.
    Paragraph(String),
    /// The answer to the question that the report was asked.
    Verdict {
        /// Whether the sizing holds.
        pass: bool,
        /// One sentence.
        text: String,
    },
    /// What the numbers do not decide, in one sentence.
    Open(String),
    /// A table; numbers are right-aligned.
    Table(Table),
    /// The numbers to read first.
    Tiles(Vec<Tile>),
    /// A figure.
    Figure(Box<Figure>),
    /// Commands or files, to the letter.
    Code(String),
}

/// A number that stands out.
#[derive(Clone, Debug)]
pub struct Tile {
    /// The number with its unit.
    pub number: String,
    /// What it is.
    pub says: String,
    /// Whether it is good news, if it is either.
    pub pass: Option<bool>,
}

/// A table.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Column headings.
    pub header: Vec<String>,
    /// How many columns, from the left, say what a row is about: where a table is too wide for its
    /// medium and goes on below itself, they are repeated.
    pub key_columns: usize,
    /// Rows of as many cells.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with the given column headings.
    pub fn new(header: impl IntoIterator<Item: Into<String>>) -> Self {
        Self {
            header: header.into_iter().map(Into::into).collect(),
            key_columns: 1,
            rows: vec![],
        }
    }

    /// The same table, whose rows are told apart by so many columns.
    #[must_use]
    pub fn keyed_by(mut self, key_columns: usize) -> Self {
        self.key_columns = key_columns;
        self
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        assert_eq!(N, self.header.len(), "a row has one cell for each column");
        self.rows.push(cells.to_vec());
    }

    /// Whether a column holds numbers (or nothing) in every row, and so is right-aligned. A number may have
    /// an interval and a unit; one that begins a sentence is text.
    pub fn is_numeric(&self, column: usize) -> bool {
        self.rows.iter().all(|row| {
            let cell = row[column].trim_start_matches(['$', '+', '-']);
            let words: Vec<&str> = cell.split_whitespace().collect();
            let is_sentence = words.len() > 2 && words[1].starts_with(char::is_alphabetic);
            cell.is_empty()
                || cell.starts_with(|first: char| first.is_ascii_digit()) && !is_sentence
        })
    }
}

impl Document {
    /// Adds a heading.
    pub fn heading(&mut self, text: impl Into<String>) {
        self.blocks.push(Block::Heading(text.into()));
    }

    /// Adds a paragraph.
    pub fn paragraph(&mut self, text: impl Into<String>) {
        self.blocks.push(Block::Paragraph(text.into()));
    }

    /// Adds the figure of this name, if it was made.
    pub fn figure(&mut self, figures: &[Figure], id: &str) {
        let found = super::figures::find(figures, id);
        self.blocks
            .extend(found.map(|figure| Block::Figure(Box::new(figure.clone()))));
    }

    /// Adds a table.
    pub fn table(&mut self, table: Table) {
        self.blocks.push(Block::Table(table));
    }
}
