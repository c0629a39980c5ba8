//! Sans-IO state machines of client, committee member and server; checks and evidence.
