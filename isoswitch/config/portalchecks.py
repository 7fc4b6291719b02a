"""What must hold between merchants, clearing houses and clients of the API."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from isoswitch.config.model import Network
from isoswitch.config.source import Problem


def payees_can_be_paid(network: Network) -> Iterator[Problem]:
    """Each payee's house is there, and what calls it back can be signed."""
    secrets = network.portal.callback_secrets if network.portal else {}
    for name, merchant in network.merchants.items():
        payee = merchant.payee
        if payee is None:
            continue
        at = ("merchants", name, "payee")
        if payee.house not in network.houses:
            yield Problem(
                location=(*at, "house"),
                what=f"merchant {name} is paid over {payee.house}, which is no house",
                fix=f"add [houses.{payee.house}], or name one that is there",
            )
        if payee.callback_url is not None and name not in secrets:
            yield Problem(
                location=(*at, "callback_url"),
                what=f"nothing signs what merchant {name} is called back with",
                fix=f'[portal.callback_secrets] "{name}" = "var/secrets/{name}"',
            )


def accounts_have_owners(network: Network) -> Iterator[Problem]:
    """Whoever is credited with what others send is there."""
    for name, house in network.houses.items():
        for number, account in house.accounts.items():
            if account.merchant not in (None, *network.merchants):
                yield Problem(
                    location=("houses", name, "accounts", number),
                    what=f"the account is of {account.merchant}, which is no merchant",
                    fix=f'add [merchants."{account.merchant}"]',
                )


def houses_are_no_endpoints(network: Network) -> Iterator[Problem]:
    """A name says whether an issuer or a house moves the money of a transaction."""
    for name in network.houses.keys() & network.endpoints.keys():
        yield Problem(
            location=("houses", name),
            what=f"{name} is an endpoint and a house",
            fix="give one of them another name: records name it",
        )


def signed_links_have_their_keys(network: Network) -> Iterator[Problem]:
    """A simulated house on a signed link has both its keys."""
    simulated = network.simulators.houses if network.simulators else {}
    for name, house in network.houses.items():
        if house.signature is None:
            continue
        end = simulated.get(name)
        if end is not None and (end.key_file is None or end.our_file is None):
            yield Problem(
                location=("simulators", "houses", name),
                what=f"the simulated {name} cannot sign, and its link is signed",
                fix='add key_file = "var/houses/house.key", our_file = "..."',
            )


def links_over_https_have_tls(network: Network) -> Iterator[Problem]:
    """Both ends of a house's link have TLS, or none; HTTPS always has."""
    simulated = network.simulators.houses if network.simulators else {}
    for name, house in network.houses.items():
        if house.transport == "https" and house.tls is None:
            yield Problem(
                location=("houses", name, "transport"),
                what=f"documents for {name} would travel over plain HTTP",
                fix="add tls with certificate, key and ca",
            )
        end = simulated.get(name)
        if end is not None and (end.tls is None) != (house.tls is None):
            yield Problem(
                location=("simulators", "houses", name, "tls"),
                what=f"one end of the link with {name} has TLS, the other has not",
                fix="give tls to both ends, or to none",
            )


def clients_can_sign(network: Network) -> Iterator[Problem]:
    """Each client of the API has one key, and acts for a merchant with codes."""
    clients = network.portal.clients if network.portal else {}
    for name, client in clients.items():
        at = ("portal", "clients", name)
        if (client.secret_file is None) == (client.public_key_file is None):
            yield Problem(
                location=at,
                what=f"client {name} has not just one key to verify what it signs",
                fix="name its secret_file or its public_key_file",
            )
        merchant = network.merchants.get(client.merchant or "")
        if client.merchant is not None and (merchant is None or not merchant.payee):
            yield Problem(
                location=(*at, "merchant"),
                what=f"client {name} is for a merchant without a payee",
                fix=f'add [merchants."{client.merchant}".payee]',
            )


def servers_are_terminals(network: Network) -> Iterator[Problem]:
    """The terminal of a client is its merchant's, and nothing else is that terminal."""
    clients = network.portal.clients if network.portal else {}
    owners: dict[str, str | None] = {}
    for name, client in clients.items():
        if client.terminal is None:
            continue
        problem = partial(Problem, location=("portal", "clients", name, "terminal"))
        if client.merchant is None:
            yield problem(
                what=f"client {name} has a terminal and is for no merchant",
                fix="name its merchant, or leave the terminal out",
            )
        if client.terminal in network.terminals:
            yield problem(
                what=f"client {name} would be {client.terminal}, which is a terminal",
                fix="give it a number that is not in [terminals]",
            )
        if owners.setdefault(client.terminal, client.merchant) != client.merchant:
            yield problem(
                what=f"terminal {client.terminal} would be of several merchants",
                fix="give the clients of each merchant a number of their own",
            )
