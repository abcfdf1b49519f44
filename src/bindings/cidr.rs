//! Arithmetic with address blocks.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Value, json};

use crate::catalog::{Args, Binding, Param, Ty};
use crate::error::{Error, Result, count};

/// `cidr::`.
pub static ALL: &[&Binding] = &[&SUBNETS, &CONTAINS, &OVERLAPS, &SIZE, &PREFIX, &FREE_BLOCKS];

/// More blocks than any VPC has subnets; a slip such as a `/8` into `/28` would fill memory.
const BLOCKS_MAX: usize = 65_536;

const CIDR: Param = Param::new("cidr", Ty::Text, "such as \"10.0.0.0/16\"");

fn parse(text: &str) -> Result<IpNet> {
    let block: IpNet = text.trim().parse().map_err(|_| {
        Error::invalid(format!("\"{text}\" is not an address block")).hint("write one such as `\"10.0.0.0/16\"`")
    })?;
    if block.network() != block.addr() {
        return Err(Error::invalid(format!("\"{text}\" has bits set beyond its prefix"))
            .hint(format!("write `\"{}\"`", block.trunc())));
    }
    Ok(block)
}

fn prefix_of(args: &Args, block: &IpNet) -> Result<u8> {
    let prefix = args.int("prefix").and_then(|prefix| u8::try_from(prefix).ok());
    prefix.filter(|prefix| (block.prefix_len()..=block.max_prefix_len()).contains(prefix)).ok_or_else(|| {
        Error::invalid(format!(
            "`prefix` is a number from {} to {} for {block}",
            block.prefix_len(),
            block.max_prefix_len()
        ))
    })
}

static SUBNETS: Binding = Binding::pure(
    "cidr::subnets",
    "All blocks of a prefix length inside a block, in order.

```rhai
cidr::subnets(\"10.0.0.0/16\", 18)[1] //=> \"10.0.64.0/18\"
cidr::subnets(\"10.0.0.0/16\", 8) //=> error: invalid
```",
    &[CIDR, Param::new("prefix", Ty::Int, "prefix length of the blocks")],
    "list of texts",
    |args| {
        let block = parse(args.text("cidr"))?;
        let prefix = prefix_of(args, &block)?;
        if usize::from(prefix - block.prefix_len()) > BLOCKS_MAX.ilog2() as usize {
            return Err(Error::invalid(format!("{block} holds too many blocks of /{prefix}"))
                .note(format!("at most {}", count("block", BLOCKS_MAX))));
        }
        let subnets = block.subnets(prefix).map_err(|error| Error::invalid(format!("{block}: {error}")))?;
        Ok(subnets.map(|subnet| Value::from(subnet.to_string())).collect())
    },
);

static CONTAINS: Binding = Binding::pure(
    "cidr::contains",
    "Whether a block contains another block or an address.

```rhai
cidr::contains(\"10.0.0.0/16\", \"10.0.3.7\") //=> true
cidr::contains(\"10.0.0.0/16\", \"10.1.0.0/24\") //=> false
cidr::contains(\"ten\", \"10.0.0.1\") //=> error: invalid
```",
    &[CIDR, Param::new("inner", Ty::Text, "a block or an address")],
    "boolean",
    |args| {
        let block = parse(args.text("cidr"))?;
        let inner = args.text("inner");
        match inner.parse::<IpAddr>() {
            Ok(address) => Ok(json!(block.contains(&address))),
            Err(_) => Ok(json!(block.contains(&parse(inner)?))),
        }
    },
);

static OVERLAPS: Binding = Binding::pure(
    "cidr::overlaps",
    "Whether two blocks share an address.

```rhai
cidr::overlaps(\"10.0.0.0/16\", \"10.0.128.0/17\") //=> true
cidr::overlaps(\"10.0.0.0/16\", \"?\") //=> error: invalid
```",
    &[Param::new("a", Ty::Text, "a block"), Param::new("b", Ty::Text, "a block")],
    "boolean",
    |args| {
        let (a, b) = (parse(args.text("a"))?, parse(args.text("b"))?);
        Ok(json!(a.contains(&b) || b.contains(&a)))
    },
);

static SIZE: Binding = Binding::pure(
    "cidr::size",
    "How many addresses a block has. AWS keeps 5 of each subnet.

```rhai
cidr::size(\"10.0.0.0/24\") //=> 256
cidr::size(\"2600::/32\") //=> error: invalid
```",
    &[CIDR],
    "integer",
    |args| {
        let block = parse(args.text("cidr"))?;
        let bits = u32::from(block.max_prefix_len() - block.prefix_len());
        let size = 1_i64.checked_shl(bits).filter(|_| bits < 63);
        size.map(|size| json!(size))
            .ok_or_else(|| Error::invalid(format!("{block} has more addresses than an integer holds")))
    },
);

static PREFIX: Binding = Binding::pure(
    "cidr::prefix",
    "The prefix length of a block.

```rhai
cidr::prefix(\"10.0.0.0/16\") //=> 16
cidr::prefix(\"10.0.0.1/16\") //=> error: invalid
```",
    &[CIDR],
    "integer",
    |args| parse(args.text("cidr")).map(|block| json!(block.prefix_len())),
);

static FREE_BLOCKS: Binding = Binding::pure(
    "cidr::free_blocks",
    "How many blocks of a prefix length inside a block are not touched by any used block or address.

```rhai
cidr::free_blocks(\"10.0.0.0/24\", [\"10.0.0.0/28\", \"10.0.0.17\"], 28) //=> 14
cidr::free_blocks(\"10.0.0.0/24\", [1], 28) //=> error: invalid
```",
    &[CIDR, Param::new("used", Ty::List, "blocks and addresses"), Param::new("prefix", Ty::Int, "prefix length")],
    "integer",
    |args| {
        let block = parse(args.text("cidr"))?;
        let prefix = prefix_of(args, &block)?;
        let mut used = std::collections::BTreeSet::new();
        for item in args.list("used") {
            let text = item.as_str().ok_or_else(|| Error::invalid("`used` is a list of texts"))?;
            let inner = text.parse::<IpAddr>().map(IpNet::from).or_else(|_| parse(text))?;
            if !block.contains(&inner) {
                continue;
            }
            // A used block larger than the wanted ones takes several of them.
            let touched = IpNet::new_assert(inner.addr(), inner.prefix_len().min(prefix)).trunc();
            used.extend(touched.subnets(prefix).into_iter().flatten());
        }
        let total = 1_u64.checked_shl(u32::from(prefix - block.prefix_len())).unwrap_or(u64::MAX);
        Ok(json!(total.saturating_sub(used.len() as u64)))
    },
);
