#ifndef USERLINK_REPLAY_H
#define USERLINK_REPLAY_H

int replay(void);
int replay_bundles(void);

#endif
