//! skeleton
mod child;
mod meter;
mod native;
mod protocol;
mod statistics;
mod work;

fn main() -> anyhow::Result<()> {
    cobuf_host::init();
    let mut arguments = std::env::args().skip(2);
    let (peer, request) = (arguments.next().unwrap(), arguments.next().unwrap());
    let answer = native::measure(&peer, &serde_json::from_str(&request)?)?;
    println!("{}", serde_json::to_string(&answer)?);
    Ok(())
}
