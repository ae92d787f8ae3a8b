"""The command `sensorium bridge`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from flows.command import Json, print_json, refusing


def bridge(
    space_a: Annotated[str, typer.Argument(help="The space that stays as it is: a space's name or TOML file.")],
    space_b: Annotated[str, typer.Argument(help="The space that is mapped into it.")],
    captions: Annotated[str, typer.Argument(help="A text file with a caption a line; or Parquet, CSV, TSV or JSONL.")],
    name: Annotated[str, typer.Option(help="Of the new space, and of its folder.")],
    out: Annotated[str | None, typer.Option(help="Folder in which that folder is made; default here.")] = None,
    column: Annotated[str | None, typer.Option(help="Of a table of captions, the column that holds them; default text.")] = None,
    memory_a: Annotated[str | None, typer.Option(help="A database embedded with A: any pictures, in no pairs.")] = None,
    memory_b: Annotated[str | None, typer.Option(help="A database embedded with B: any sounds, in no pairs.")] = None,
    table: Annotated[str | None, typer.Option(help="Table in either database; default media.")] = None,
    most: Annotated[int | None, typer.Option(help="Most vectors that are drawn from a memory; default 20,000.")] = None,
    method: Annotated[str | None, typer.Option(help="ridge, procrustes, or mlp (C-MCR's projector); default ridge.")] = None,
    ridge: Annotated[float | None, typer.Option(help="Strength; default 0.1 with both memories, 1 without.")] = None,
    temperature: Annotated[float | None, typer.Option(help="With which captions look into a memory; default 0.02.")] = None,
    steps: Annotated[int | None, typer.Option(help="Of a projector's training; default 500.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of all that is drawn; default 1.")] = None,
    replace: Annotated[bool | None, typer.Option("--replace", help="Replace a space of this name.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:N.")] = None,
    as_json: Json = False,
) -> None:
    """Join SPACE_A and SPACE_B, which share text, by CAPTIONS alone: no pairs of what the one sees and the other hears."""
    with refusing():
        from flows import display, settings_given
        from flows.bridge import join

        asked = settings_given.bridge_settings(
            a=space_a,
            b=space_b,
            captions=captions,
            name=name,
            out=out,
            column=column,
            memory_a=memory_a,
            memory_b=memory_b,
            table=table,
            most=most,
            method=method,
            ridge=ridge,
            temperature=temperature,
            steps=steps,
            seed=seed,
            replace=replace,
            device=device,
        )
        with display.steps() as told:
            account = join(asked, lambda done, total: told("captions", done, total, ""))
        print_json(account) if as_json else _show(account)


def _show(account: dict[str, Any]) -> None:
    from rich.markup import escape

    from flows.display import out

    found, held = account["captions"], account["held_out"]
    out.print(f"[bold]{escape(account['name'])}[/bold]: {', '.join(account['from_a'])} of A, {', '.join(account['from_b'])} of B")
    left_out = "".join(f" + {escape(reason)} {number}" for reason, number in found["left_out"].items())
    numbers = ("used", "held_out", "blank", "duplicates")
    out.print(f"captions {found['rows']} = " + " + ".join(f"{name.replace('_', ' ')} {found[name]}" for name in numbers) + left_out)
    out.print(f"memory: {account['memory']['a']} vectors of A, {account['memory']['b']} of B; by {account['method']}")
    if held:
        told = f"recall@1 {held['recall@1']:.3f}, mrr {held['mrr']:.3f}"
        out.print(f"captions of B among the same {found['held_out']} of A, that the bridge never saw: {told}")
    out.print(f"{account['seconds']:.1f} s in all; generation {account['generation']}; next:")
    out.print(f"sensorium embed BUCKET DATABASE --space {account['space']}", markup=False)
