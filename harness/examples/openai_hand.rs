use harness::openai::*;
#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let script: Script = serde_json::from_str(&std::env::args().nth(1).unwrap_or("{}".into()))?;
    let o = LoadOpenAi::start(script).await?;
    println!("{}", o.base_url());
    let mut line = String::new();
    while std::io::stdin().read_line(&mut line)? > 0 {
        println!("{}", serde_json::to_string(&(o.stats(), o.billing()))?);
        line.clear();
    }
    o.stop().await;
    Ok(())
}
